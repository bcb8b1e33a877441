// node dist/scripts/convolutions.js [--threads 1]: every kind of convolution that backbones use, of 1 … 48 channels on images of
// 16 … 224 pixels, against float64 and under malloc's own checks, with the instructions of this processor and of older ones.
import { parseArgs } from 'node:util';
import { checkConvolutions, kinds } from '../test/helpers/convolutions.ts';

const { values } = parseArgs({ options: { threads: { type: 'string', default: '1' } } });
const channels = [...Array.from({ length: 20 }, (_, i) => i + 1), 24, 31, 32, 33, 48];
const sides = [16, 32, 48, 64, 112, 160, 224];
const allocators = ['caching', 'system'];
let [tried, failed] = [0, 0];
for (const isa of ['AVX2', 'AVX512_CORE', 'ALL'])
  for (const allocator of allocators)
    for (const dtype of ['float32', 'bfloat16'] as const)
      for (const kind of Object.keys(kinds))
        for (const side of sides) {
          const sweep = {
            kinds: [kind],
            channels,
            sides: [side],
            batches: [1, 4],
            dtype,
            threads: Number(values.threads),
          };
          const found = checkConvolutions(sweep, { ONEDNN_MAX_CPU_ISA: isa, MIXBCT_ALLOCATOR: allocator });
          tried += channels.length * sweep.batches.length;
          if (found === '') continue;
          failed++;
          process.stdout.write(`${isa}, ${allocator} allocator, ${dtype}, ${kind}, side ${side}:\n${found}\n`);
        }
process.stdout.write(`${tried} convolutions, ${failed} sides of a kind with faults\n`);
process.exitCode = failed === 0 ? 0 : 1;
