import { readSync } from 'node:fs';
import type { OutputKind } from '../artifacts/output-claim.ts';
import { withRegularFile } from '../base/regular-file.ts';

/** What a run can be written as. */
export const exportFormats = ['onnx', 'pytorch', 'safetensors'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** First line of every model card. */
export const CARD_MARK = '<!-- model card by mixbct export -->';
/** A card stands beside the file that it describes. */
export const cardPath = (out: string): string => `${out}.model-card.md`;

/** The first bytes of a file; none if it is no regular file or cannot be read. */
function startOf(path: string): Buffer {
  const start = Buffer.alloc(128);
  try {
    return withRegularFile(path, (fd) => start.subarray(0, readSync(fd, start)));
  } catch {
    return start.subarray(0, 0);
  }
}

/** What `mixbct export` writes, as `--force` knows it: by what its files begin with. */
export const exportFiles: Readonly<Record<ExportFormat | 'card', OutputKind>> = {
  onnx: {
    description: 'an ONNX file of mixbct export',
    matches: (path) => startOf(path).subarray(2, 10).equals(Buffer.from('\x12\x06mixbct')), // the producer's name
  },
  pytorch: {
    description: 'a PyTorch file of mixbct export',
    matches: (path) => startOf(path).subarray(30).toString('latin1').startsWith('model/mixbct.json'),
  },
  safetensors: {
    description: 'a safetensors file of mixbct export',
    matches: (path) => startOf(path).subarray(8).toString('latin1').startsWith('{"__metadata__":{"mixbct":'),
  },
  card: {
    description: 'a model card of mixbct export',
    matches: (path) => startOf(path).toString('utf8').startsWith(CARD_MARK),
  },
};
