#!/usr/bin/env node
import { codeOf } from '../base/errors.ts';
import { reportError, runCommandLine } from './command-line.ts';

/** How long a process that failed may take to end by itself. */
const LINGER_MS = 3000;

// a reader that has seen enough (`| head`) is no failure
process.stdout.on('error', (error) => {
  if (codeOf(error) === 'EPIPE') process.exit(0);
  if (codeOf(error) !== 'EIO') throw error; // a terminal that is gone
});
// a closed terminal must not keep a training from its last checkpoint
process.stderr.on('error', () => undefined);

// what is thrown outside of the command's own course ends it, with the same words
const end = (error: unknown): never => process.exit(reportError(error));
process.on('uncaughtException', end).on('unhandledRejection', end);

process.exitCode = await runCommandLine(process.argv.slice(2));
// what has failed ends, whatever a library still waits for
if (process.exitCode !== 0) setTimeout(() => process.exit(), LINGER_MS).unref();
