import type { Artifact } from '../artifacts/define-artifact.ts';

/** What is asked of a kind whose fields are not known. */
type AnyArtifact = Pick<Artifact<object>, 'kind' | 'name' | 'command' | 'describe'>;

/** Every kind of artefact, by the `kind` of its manifests. A definition is loaded when one of its kind is met. */
const kinds: Readonly<Record<string, () => Promise<AnyArtifact>>> = {
  run: async () => (await import('../runs/run-artifact.ts')).runArtifact,
  features: async () => (await import('../features/feature-set-artifact.ts')).featureSetArtifact,
  'embedding-shard': async () => (await import('../features/embedding-shard-artifact.ts')).embeddingShardArtifact,
  'embeddings-folder': async () => (await import('../features/embeddings-folder-artifact.ts')).embeddingsFolderArtifact,
  export: async () => (await import('../export/export-artifact.ts')).exportArtifact,
  credible: async () => (await import('../features/credible-artifact.ts')).credibleArtifact,
  prototypes: async () => (await import('../features/prototypes-artifact.ts')).prototypesArtifact,
  boundaries: async () => (await import('../features/boundaries-artifact.ts')).boundariesArtifact,
  adapter: async () => (await import('../adapt/adapter-artifact.ts')).adapterArtifact,
  backfill: async () => (await import('../backfill/backfill-artifact.ts')).backfillArtifact,
  evaluation: async () => (await import('../eval/evaluation-artifact.ts')).evaluationArtifact,
  chain: async () => (await import('../plan/chain-artifact.ts')).chainArtifact,
  plan: async () => (await import('../plan/plan-artifact.ts')).planArtifact,
  'roll-out': async () => (await import('../stages/roll-out-artifact.ts')).rollOutArtifact,
  tuning: async () => (await import('../tune/tuning-artifact.ts')).tuningArtifact,
  'pack-accuracy': async () => (await import('../eval/pack-accuracy-artifact.ts')).packAccuracyArtifact,
};

export const artifactKinds: readonly string[] = Object.keys(kinds);

/** The definition of a kind; null if there is none. */
export const artifactOfKind = async (kind: string): Promise<AnyArtifact | null> =>
  Object.hasOwn(kinds, kind) ? await kinds[kind]!() : null;
