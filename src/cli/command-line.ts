import { type Command, CommanderError } from 'commander';
import colors from 'picocolors';
import { toDiskFullError } from '../artifacts/durable-write.ts';
import { Interrupted, messageOf, PEER_LOST, PeerLost, ProcessFailed, UserError } from '../base/errors.ts';
import { setReporter } from '../base/progress.ts';
import { asSystemError } from '../base/system-error.ts';
import { terminalReporter } from '../base/terminal-reporter.ts';
import { withoutPassword } from '../stores/store-url.ts';
import { LAUNCHER } from '../torch/variables.ts';
import { commandNamed, hasOption } from './find-command.ts';
import { program, refuseUnknownCommand } from './program.ts';

/** Exit codes: 0 done, 1 a failure of ours or an interruption, 2 something the user can mend, 3 another process of the run. */
const [FAILED, MISUSED] = [1, 2];

/** The command whose action runs, for errors that come outside of it. */
let running: { readonly root: Command; readonly command: Command; readonly words: readonly string[] } | undefined;

/** Runs a command line (without node and script) and says what went wrong. → the exit code */
export async function runCommandLine(words: readonly string[]): Promise<number> {
  setReporter(terminalReporter);
  const root = await program(words);
  running = { root, command: root, words };
  root.hook('preAction', (_, command) => {
    running = { root, command, words };
    requireValues(command);
  });
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    refuseUnknownCommand(root, words);
    await root.parseAsync([...words], { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return reportError(error);
  } finally {
    process.exitCode = before;
  }
}

/** @throws UserError if an argument or an option was given nothing, as by a variable of the shell that is not set. */
function requireValues(command: Command): void {
  const empty = (value: unknown): boolean => [value].flat().some((one) => typeof one === 'string' && one.trim() === '');
  const option = command.options.find((one) => empty(command.getOptionValue(one.attributeName())));
  if (option) throw new UserError(`${option.long} was given nothing`, { hint: `wanted ${option.flags}` });
  const at = command.processedArgs.findIndex(empty);
  const argument = command.registeredArguments[at];
  if (argument) throw new UserError(`<${argument.name()}> was given nothing`);
}

/** Says what went wrong, for a person. → the exit code */
export function reportError(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : MISUSED; // commander has said it already
  const red = colors.createColors(colors.isColorSupported && process.stderr.isTTY).red;
  const known = asSystemError(error instanceof UserError ? error : toDiskFullError(process.cwd(), error));
  if (known instanceof UserError) {
    const message = known.messageFor((option) => !running || hasOption(running.command, option));
    process.stderr.write(`${red('error:')} ${message}\n`);
    return MISUSED;
  }
  if (error instanceof Interrupted) {
    const hint = process.env[LAUNCHER] === undefined && running ? `\n  go on with: ${resumeLine(running)}` : ''; // else the launcher tells
    process.stderr.write(`${error.message}${hint}\n`);
    return FAILED;
  }
  if (error instanceof PeerLost) {
    process.stderr.write(`${error.message}\n`);
    return PEER_LOST;
  }
  if (error instanceof ProcessFailed) return error.code; // its own words stand on the screen
  process.stderr.write(`${red('internal error:')} ${error instanceof Error ? error.stack : messageOf(error)}\n`);
  return FAILED;
}

/** This command line again, with `--resume` if it is of a command, launched or not, that has to be told to go on. */
function resumeLine({ root, words }: NonNullable<typeof running>): string {
  const launched = words[0] === 'launch' ? words.slice(words.indexOf('--') + 1) : words;
  const command = commandNamed(root, launched);
  const resume = hasOption(command, '--resume') && !words.includes('--resume') ? ['--resume'] : [];
  return ['mixbct', ...words.filter((word) => word !== '--force').map(withoutPassword), ...resume].join(' ');
}
