import { join } from 'node:path';
import type { Evaluation } from '../eval/index.ts';
import { renderAccuracies, renderTerminal } from '../report/terminal.ts';
import type { PackOptions } from '../stages/evaluate-pack.ts';
import { command, group } from './context.ts';

export const evaluateCommand = () =>
  group('evaluate', 'evaluate new models against the old one')
    .example(
      'mixbct evaluate --old features/old-eval --new mixbct=features/mixbct-eval --out runs/evaluation',
      'mixbct evaluate ijb --data ijb --model runs/new --old runs/old --out runs/ijbc',
    )
    .addCommand(evaluateSetsCommand(), { isDefault: true })
    .addCommand(evaluateIjbCommand())
    .addCommand(evaluatePackCommand());

const OUT = 'folder for evaluation.json, report.html and report.md';
const NEW =
  'feature set of a new model; own,old if it has a projection; features+adapter or features,adapted through an adapter';

const evaluateSetsCommand = () =>
  command('sets', 'evaluate feature sets of classes that no model was trained on (the default)')
    .example(
      'mixbct evaluate --old features/old-eval --oracle features/oracle-eval --new mixbct=features/mixbct-eval --out runs/evaluation',
    )
    .requiredOption('--old <features>', "the old model's feature set")
    .option('--oracle <features>', 'feature set of a new model trained without the old one')
    .repeatedOption('--new <name=features>', NEW)
    .requiredOption('--out <folder>', OUT)
    .shared('figures', 'pictures')
    .option('--title <text>', 'title of the report', 'Backward compatibility')
    .shared('far', 'genuines', 'impostors', 'probes', 'memory', 'resamples', 'maxZeroShare', 'seed', 'force')
    .prints(async ({ memory, ...options }) => {
      const [{ candidateFrom }, { evaluateSets }] = await Promise.all([
        import('../stages/candidate.ts'),
        import('../stages/evaluate-sets.ts'),
      ]);
      const candidates = options.new.map((text: string) => candidateFrom(text, `--new ${text}`));
      return shown(
        options,
        await evaluateSets({ ...options, candidates, ...(memory && { memoryBytes: memory * 1e9 }) }),
      );
    });

const shown = ({ out }: { readonly out: string }, evaluation: Evaluation) =>
  [evaluation, `${renderTerminal(evaluation)}\nreport: ${join(out, 'report.html')}`] as const;

const PROTOCOLS = ['11', '1N'];

const evaluateIjbCommand = () =>
  command('ijb', 'evaluate models on IJB-C or IJB-B: 1:1 and 1:N, each on its own and on the old gallery')
    .example(
      'mixbct evaluate ijb --data ijb --model runs/new1 --model runs/new2 --old runs/old --protocol 11,1N --out runs/ijbc',
    )
    .requiredOption('--data <folder>', 'folder that holds IJBC/ or IJBB/, with loose_crop/ and meta/')
    .choiceOption('--subset <name>', 'which benchmark', ['IJBC', 'IJBB'], 'IJBC')
    .repeatedOption('--model <[name=]run>', 'a model to judge: folder of a run, or of a feature set of the benchmark')
    .option('--old <[name=]run>', 'the model of the old gallery')
    .option('--oracle <[name=]run>', 'a new model trained without the old one')
    .listOption('--protocol <list>', '1:1, 1:N or both', PROTOCOLS, PROTOCOLS)
    .option('--features <folder>', 'where each model’s features are kept for later evaluations', 'features/ijb')
    .shared('pixels')
    .requiredOption('--out <folder>', OUT)
    .option('--scores', 'write the scores of all pairs as .npz, too', false)
    .shared('figures', 'far', 'resamples', 'maxZeroShare')
    .batchSizeOption(128)
    .shared('workers', 'threads', 'device', 'seed', 'resume', 'force')
    .computesTogether(async (options) => {
      const { evaluateIjb } = await import('../stages/evaluate-ijb.ts');
      const evaluation = await evaluateIjb(options);
      return evaluation && shown(options, evaluation);
    });

const evaluatePackCommand = () =>
  command('pack', 'evaluate models on verification packs such as lfw.bin: accuracy in ten folds')
    .example('mixbct evaluate pack --pack packs/lfw.bin --pack packs/cfp_fp.bin --model runs/new --old runs/old')
    .repeatedOption('--pack <file>', 'a .bin of encoded images and labels')
    .repeatedOption('--model <[name=]run>', 'a model to judge')
    .option('--old <[name=]run>', 'the model of the old gallery: the first picture of each pair')
    .option('--out <folder>', 'write accuracy.json with every fold there')
    .shared('pixels', 'maxZeroShare')
    .batchSizeOption(128)
    .shared('workers', 'threads', 'resume', 'force')
    .computes(async (options: PackOptions) => {
      const { evaluatePacks } = await import('../stages/evaluate-pack.ts');
      const results = await evaluatePacks(options);
      return [results, renderAccuracies(results)];
    });
