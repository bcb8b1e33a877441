#!/usr/bin/env node
import { CommanderError } from 'commander';
import colors from 'picocolors';
import { asDiskFull } from '../base/durable-write.ts';
import { codeOf, Interrupted, messageOf, PeerLost, UserError } from '../base/errors.ts';
import { LAUNCHER } from './context.ts';
import { PEER_LOST, ProcessFailed } from './launch.ts';
import { commandNamed, hasOption, program, refuseUnknownCommand } from './program.ts';

/** Exit codes: 0 done, 1 a failure of ours or an interruption, 2 something the user can mend, 3 another process of the run. */
const [FAILED, MISUSED] = [1, 2];

/** How long a process that failed may take to end by itself. */
const LINGER_MS = 3000;

const root = program();
/** The command whose action runs. */
let running = root;
root.hook('preAction', (_, command) => {
  running = command;
});

// a reader that has seen enough (`| head`) is no failure
process.stdout.on('error', (error) => {
  if (codeOf(error) === 'EPIPE') process.exit(0);
  if (codeOf(error) !== 'EIO') throw error; // a terminal that is gone
});
// whoever no longer listens keeps nothing from its last checkpoint
process.stderr.on('error', () => undefined);

try {
  refuseUnknownCommand(root, process.argv.slice(2));
  await root.parseAsync();
} catch (error) {
  process.exitCode = report(error);
  // what has failed ends, whatever a library still waits for
  setTimeout(() => process.exit(), LINGER_MS).unref();
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : MISUSED; // commander has said it already
  const known = asDiskFull(process.cwd(), error);
  if (known instanceof UserError) {
    const message = known.messageFor((option) => hasOption(running, option));
    process.stderr.write(`${colors.red('error:')} ${message}\n`);
    return MISUSED;
  }
  if (error instanceof Interrupted) {
    const hint = process.env[LAUNCHER] === undefined ? `\n  go on with: ${resumeLine()}` : ''; // else the launcher tells
    process.stderr.write(`${error.message}${hint}\n`);
    return FAILED;
  }
  if (error instanceof PeerLost) {
    process.stderr.write(`${error.message}\n`);
    return PEER_LOST;
  }
  if (error instanceof ProcessFailed) return error.code; // its own words stand on the screen
  process.stderr.write(`${colors.red('internal error:')} ${error instanceof Error ? error.stack : messageOf(error)}\n`);
  return FAILED;
}

/** This command line again, with `--resume` if it is of a command, launched or not, that has to be told to go on. */
function resumeLine(): string {
  const words = process.argv.slice(2);
  const launched = words[0] === 'launch' ? words.slice(words.indexOf('--') + 1) : words;
  const { command } = commandNamed(root, launched);
  const resume = hasOption(command, '--resume') && !words.includes('--resume') ? ['--resume'] : [];
  return ['mixbct', ...words.filter((word) => word !== '--force'), ...resume].join(' ');
}
