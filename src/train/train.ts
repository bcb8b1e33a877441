import { currentReporter, reportTo } from '../base/progress.ts';
import { Loader } from '../data/index.ts';
import { type RunManifest, runFiles } from '../runs/run-artifact.ts';
import { RunEvents } from './run-events.ts';
import { trainStep } from './train-step.ts';
import { claimRun, Trainer } from './trainer.ts';
import { planTraining, type TrainOptions } from './training-plan.ts';

/** Trains one model as its recipe describes. The directory `out` is a finished run once it has a manifest. */
export function train(options: TrainOptions): Promise<RunManifest> {
  const writes = !options.distributed || options.distributed.group.rank === 0;
  const events = new RunEvents(writes ? runFiles(options.out).events : null, currentReporter());
  return reportTo(events, () => runTraining(options, events));
}

async function runTraining(options: TrainOptions, events: RunEvents): Promise<RunManifest> {
  const plan = await planTraining(options);
  using output = claimRun(options);
  await using loader = new Loader(options.dataset, { workers: options.workers ?? 1 });
  using trainer = new Trainer(options, plan, { output, loader, events });
  const { session, policy } = trainer;
  const { old, saveEvery = SAVE_EVERY } = options;
  let stopping = false;
  try {
    await trainer.start();
    while (!trainer.isTrained) {
      await trainer.startEpoch();
      for await (using batch of trainer.batches()) {
        policy.snapshot();
        const result = trainStep(session, batch, old, trainer.stepSettings());
        policy.settle(result, batch, trainer);
        await trainer.endStep(result, batch);
        stopping = trainer.isStopRequested();
        if (stopping || trainer.isTrained) break;
        if (trainer.step % saveEvery === 0 && trainer.step % plan.stepsPerEpoch !== 0) await trainer.save();
      }
      await trainer.save();
      if (stopping && !trainer.isTrained) throw trainer.interrupted();
    }
    return await trainer.finish();
  } catch (error) {
    throw trainer.failed(error);
  }
}

/** Default of `saveEvery`: a few minutes of a large run. */
const SAVE_EVERY = 1000;
