import { formatBytes } from '../artifacts/durable-write.ts';
import { formatCount, formatDuration } from '../base/progress.ts';
import type { MigrateOptions } from '../stages/migrate.ts';
import { stampText } from '../stores/stamp-text.ts';
import { withoutPassword } from '../stores/store-url.ts';
import { command, group, interruptible, type ResultCommand } from './context.ts';

const GALLERY = 'sqlite:./gallery.db#faces';

export const migrateCommand = () =>
  group('migrate', 'move a gallery to another model while it is searched')
    .example(
      `mixbct migrate run ${GALLERY} ${SOURCE}`,
      `mixbct migrate cut-over ${GALLERY}`,
      `mixbct migrate finish ${GALLERY}`,
    )
    .addCommand(planCommand())
    .addCommand(runCommand())
    .addCommand(statusCommand())
    .addCommand(pauseCommand())
    .addCommand(resumeCommand())
    .addCommand(verifyCommand())
    .addCommand(cutOverCommand())
    .addCommand(rollbackCommand())
    .addCommand(finishCommand());

const SOURCE = '--model runs/new --images path';

/** `given`: the options of the example. */
const withUrl = (subcommand: ResultCommand, ...given: readonly string[]): ResultCommand =>
  subcommand
    .example(['mixbct migrate', subcommand.name(), GALLERY, ...given].join(' '))
    .argument('<url>', 'URL of a gallery: lancedb:, postgres:, sqlite: or files:');

const withSpeed = (subcommand: ResultCommand): ResultCommand =>
  subcommand
    .numberOption('--rate <n>', 'rows a second at most', { least: 0.001, most: 1e9 })
    .batchSizeOption(256)
    .shared('threads');

const withSource = (subcommand: ResultCommand): ResultCommand =>
  withSpeed(
    withUrl(subcommand, SOURCE)
      .option('--features <set>', 'take the new vectors from this feature set, by its ids')
      .option('--adapter <adapter>', 'map the old vectors by this adapter for the gallery')
      .option('--model <run>', 'embed the images with this run')
      .option('--images <column>', 'column with the paths or the bytes of the images (default: the id is the path)')
      .option('--folder <path>', 'folder that the paths of images begin in')
      .choiceOption('--flip <how>', 'none, or the mean over each image and its mirror', ['none', 'mean'], 'none')
      .option('--order <file>', 'ids in the order to move; or FOLDER:NAME, an order of mixbct backfill simulate'),
  );

const planCommand = () =>
  withSource(command('plan', 'say what a migration would do and how long it would take')).computes(
    async (url: string, options) => {
      const { planMigration } = await import('../stages/migrate.ts');
      const plan = await planMigration({ ...options, url });
      const lines = [
        `${plan.url}: ${formatCount(plan.rows, 'row')}`,
        `from ${stampText(plan.from)}`,
        `to ${stampText(plan.to)}`,
        `${formatBytes(plan.bytes)} of new vectors beside the old ones`,
        `${plan.available} of the first ${formatCount(plan.sampled, 'row')} have a new vector`,
        `${formatDuration(1000 * plan.seconds)} at ${plan.rowsPerSecond.toFixed(1)} rows/s`,
      ];
      return [plan, lines.join('\n  ')];
    },
  );

const runCommand = () =>
  withSource(command('run', 'move the rows of a gallery to the new model, or go on with it')).computes(
    (url: string, options) => run({ ...options, url }),
  );

const resumeCommand = () =>
  withSpeed(withUrl(command('resume', 'go on with a migration that was paused or ended'))).computes(
    (url: string, options) => run({ ...options, url, resume: true }),
  );

async function run(options: MigrateOptions & { readonly resume?: boolean }): Promise<[made: unknown, text: string]> {
  const { migrate } = await import('../stages/migrate.ts');
  const done = await migrate({ ...options, signal: interruptible() });
  const next =
    done.ended === 'paused'
      ? 'paused, go on with: mixbct migrate resume'
      : 'every row is moved: mixbct migrate verify, then mixbct migrate cut-over';
  return [done, `${formatCount(done.moved, 'row')} moved; ${next}`];
}

const statusCommand = () =>
  withUrl(command('status', 'say what the vectors of a gallery are of, and how far its migration is')).prints(
    async (url: string) => {
      const { migrationStatus, statusText } = await import('../stages/migrate.ts');
      const status = await migrationStatus(url);
      return [status, statusText(status)];
    },
  );

const verifyCommand = () =>
  withUrl(command('verify', 'count rows without a right new vector, and make some of the new vectors again'))
    .wholeOption('--sample <n>', 'rows whose new vectors are made again', { least: 0, most: 1_000_000 }, 100)
    .shared('seed', 'threads')
    .computes(async (url: string, options) => {
      const { checkText, verifyGallery } = await import('../stages/migrate.ts');
      const check = await verifyGallery(url, options);
      const { sampled, smallestCosine, ok } = check;
      const sample = sampled > 0 ? `; ${sampled} made again, smallest cosine ${smallestCosine.toFixed(6)}` : '';
      const wrong = !ok && `${withoutPassword(url)}: some new vectors are missing or wrong: ${checkText(check)}`;
      return [check, `${formatCount(check.rows, 'row')}: ${ok ? 'all right' : checkText(check)}${sample}`, wrong];
    });

const pauseCommand = () =>
  withUrl(command('pause', 'ask the process that runs a migration to stop after its batch')).prints(
    async (url: string) => done(url, (await import('../stages/migrate.ts')).pauseMigration, 'asked to pause'),
  );

const cutOverCommand = () =>
  withUrl(command('cut-over', "make the new vectors the application's")).prints(async (url: string) =>
    done(url, (await import('../stages/migrate.ts')).cutOver, 'cut over, the old vectors are kept'),
  );

const rollbackCommand = () =>
  withUrl(command('rollback', 'end a migration with the bytes that were there before it')).prints(async (url: string) =>
    done(url, (await import('../stages/migrate.ts')).rollBack, 'rolled back'),
  );

const finishCommand = () =>
  withUrl(command('finish', 'drop the old vectors after the cut-over')).prints(async (url: string) =>
    done(url, (await import('../stages/migrate.ts')).finishMigration, 'finished'),
  );

/** Does what takes only a URL. */
async function done(
  url: string,
  step: (url: string) => Promise<void>,
  what: string,
): Promise<[made: unknown, text: string]> {
  await step(url);
  const shown = withoutPassword(url);
  return [{ url: shown, done: what }, `${shown}: ${what}`];
}
