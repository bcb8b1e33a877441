import { checkedByShape, defineArtifact } from '../artifacts/define-artifact.ts';
import { Choice } from '../base/shape.ts';
import { exportFormats } from './export-files.ts';

/** What a stage `export` makes. */
export type ExportedFields = {
  /** Name of the file in the folder; its model card stands beside it. */
  readonly file: string;
  readonly format: string;
  readonly digest: string;
  /** Name, network, D and space of the model. */
  readonly name: string;
  readonly network: string;
  readonly dim: number;
  readonly space: string;
};

/** A folder with an exported model and its card. */
export const exportArtifact = defineArtifact<ExportedFields>({
  kind: 'export',
  name: 'an exported model',
  command: 'mixbct run',
  check: checkedByShape({ file: '', format: new Choice(...exportFormats), digest: '', name: '', network: '', dim: 0, space: '' }), // biome-ignore format: short
  describe: ({ file, format, digest, name, network, dim, space }) => ({
    facts: { file, format, model: `${name}: ${network}, ${dim} dimensions`, space, digest },
    sources: [],
  }),
  digests: ({ file, digest }) => ({ [file]: digest }),
});
