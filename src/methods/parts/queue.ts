import { add, copy_, narrow, type Tensor, tensor } from '../../torch/index.ts';

/** A ring buffer of the last embeddings and their classes. */
export type Queue = {
  /** [Q, D]; 0 while empty */
  readonly rows: Tensor;
  /** Class + 1; 0 while empty. [Q] int64 */
  readonly classes: Tensor;
  /** Index of the next row to write. [1] int64 */
  readonly next: Tensor;
};

/** Writes rows [K, D] of classes [K] in place, in at most two slices. If K > Q, the last Q rows remain. */
export function enqueue({ rows, classes, next }: Queue, news: Tensor, labels: Tensor): void {
  const [size, given] = [rows.shape[0]!, news.shape[0]!];
  const passed = Math.max(0, given - size);
  let at = (next.item() + passed) % size;
  for (let done = passed; done < given; ) {
    const length = Math.min(given - done, size - at);
    copy_(narrow(rows, 0, at, length), narrow(news, 0, done, length));
    copy_(narrow(classes, 0, at, length), add(narrow(labels, 0, done, length), 1));
    done += length;
    at = (at + length) % size;
  }
  copy_(next, tensor([at], { dtype: 'int64' }));
}
