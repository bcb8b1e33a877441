import { z } from 'zod';
import { UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { replaceRows, selectRows, tensor } from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { gatherRows, localRows } from './parts/batch.ts';

/**
 * Replaces a share of the batch's new embeddings by credible old ones of the same samples, and classifies all together, so
 * that each class region must hold both. "Mix" means replacement, not interpolation. Replaced rows send no gradient to the
 * backbone, but their images are forwarded and count in the batch statistics.
 */
export const mixbct = defineMethod({
  name: 'mixbct',
  source: 'MixBCT, arXiv:2308.06948 (methods.md 5.1); rows drawn from a seeded stream (D-05)',
  needs: ['oldEmbedding', 'credible'],
  projects: false,
  replacesRows: true,
  options: z.strictObject({
    ratio: z.number().min(0).lt(1).default(0.3).describe('share of the batch that is replaced, rounded down to rows'),
    onShortage: z
      .enum(['use-all', 'stop'])
      .default('use-all')
      .describe('when a batch has fewer credible rows than the ratio asks for (D-32)'),
  }),
  search: [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9].map((ratio) => ({ ratio }))],
  start: ({ ratio, onShortage }) => ({
    terms({ embeddings, labels, head, old, rng, group, count }) {
      const share = embeddings.shape[0]!;
      const credible = gatherRows(old.credible, share, group);
      const wanted = Math.floor(share * group.processes * ratio);
      if (credible.length < wanted) {
        if (onShortage === 'stop')
          throw new UserError(
            `mixbct: this batch has ${formatCount(credible.length, 'credible row')}, expected ${wanted}`,
            {
              hint: 'keep a larger share in denoise, lower the ratio, or set onShortage to use-all',
            },
          );
        count('missing credible rows', wanted - credible.length);
      }
      if (wanted === 0 && ratio > 0) count('batches too small for the ratio to replace a row', 1);
      const rows = tensor(localRows(rng.sample(credible, wanted), group), { dtype: 'int64' });
      const mixed = replaceRows(embeddings, rows, selectRows(old.oldEmbedding, rows));
      return { classify: { value: head.loss(mixed, labels), weight: 1 } };
    },
  }),
});
