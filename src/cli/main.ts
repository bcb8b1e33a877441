#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import colors from 'picocolors';
import { asDiskFull } from '../base/durable-write.ts';
import { codeOf, messageOf, UserError } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { PeerLost } from '../torch/index.ts';
import { Interrupted } from '../train/train.ts';
import { compareCommand } from './compare.ts';
import { LAUNCHER } from './context.ts';
import { dataCommand } from './data.ts';
import { averageCommand, boundariesCommand, denoiseCommand, importFeaturesCommand } from './derive.ts';
import { doctorCommand } from './doctor.ts';
import { evaluateCommand } from './evaluate.ts';
import { extractCommand } from './extract.ts';
import { importModelCommand } from './import-model.ts';
import { launchCommand, PEER_LOST, ProcessFailed } from './launch.ts';
import { recipesCommand } from './recipes.ts';
import { reportCommand } from './report.ts';
import { quickstartCommand, runCommand } from './run.ts';
import { schemaCommand } from './schema.ts';
import { trainCommand } from './train.ts';

/** Exit codes: 0 done, 1 a failure of ours or an interruption, 2 something the user can mend, 3 another process of the run. */
const [FAILED, MISUSED] = [1, 2];

const program = new Command('mixbct')
  .description('Backward-compatible training: new embedding models whose queries work on the old gallery.')
  .version(version)
  .showHelpAfterError('(add --help for the commands)')
  .addHelpText('after', '\nStart with:\n  mixbct quickstart');

for (const sub of [
  quickstartCommand(),
  runCommand(),
  dataCommand(),
  trainCommand(),
  launchCommand(),
  importModelCommand(),
  extractCommand(),
  denoiseCommand(),
  averageCommand(),
  boundariesCommand(),
  importFeaturesCommand(),
  evaluateCommand(),
  reportCommand(),
  compareCommand(),
  recipesCommand(),
  schemaCommand(),
  doctorCommand(),
])
  program.addCommand(sub);

/** Commander throws instead of leaving, so that usage errors get the exit code of every other misuse. */
const throwing = (command: Command): void => {
  command.exitOverride();
  command.commands.forEach(throwing);
};
throwing(program);

// a reader that has seen enough (`| head`) is no failure
process.stdout.on('error', (error) => {
  if (codeOf(error) === 'EPIPE') process.exit(0);
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : MISUSED; // commander has said it already
  const known = asDiskFull(process.cwd(), error);
  if (known instanceof UserError) {
    process.stderr.write(`${colors.red('error:')} ${known.message}\n`);
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

/** This command line again; only `train`, launched or not, has to be told that it is to go on. */
function resumeLine(): string {
  const words = process.argv.slice(2);
  const resume = ['train', 'launch'].includes(words[0]!) && !words.includes('--resume') ? ['--resume'] : [];
  return ['mixbct', ...words.filter((word) => word !== '--force'), ...resume].join(' ');
}
