// Judges whether queries of a new model can serve a gallery of old vectors, by two NumPy files of the same pictures.
//
//   npx tsx judge-npy.ts OLD.npy NEW.npy LABELS.npy OUT
import { join } from 'node:path';
import { evaluate } from 'mixbct';
import { importNpy } from 'mixbct/features';

const [old, candidate, labels, out] = process.argv.slice(2);
if (!old || !candidate || !labels || !out) throw new Error('wanted: OLD.npy NEW.npy LABELS.npy OUT');

const at = (name: string): string => join(out, name);
await importNpy({ features: old, labels }, at('old'), { force: true });
await importNpy({ features: candidate, labels }, at('new'), { force: true });
const { candidates } = await evaluate({
  title: 'Old and new vectors',
  old: at('old'),
  candidates: [{ name: 'new', features: at('new') }],
  seed: 1,
  out: at('judged'),
  force: true,
});
for (const { metric, oldOld, newOld, criterion } of candidates[0]!.comparisons)
  console.log(`${metric}: old → old ${oldOld.toFixed(4)}, new → old ${newOld.toFixed(4)}, ${criterion}`);
