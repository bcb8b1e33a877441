import { z } from 'zod';
import type { Reporter } from '../base/progress.ts';
import { mappingOf } from '../base/shape.ts';

/** An input of a stage: an earlier stage by its id, or a path. */
export const reference = z.string().min(1).describe('an earlier stage (id, or id.part), or a path');
export const datasetReference = reference.describe(
  'a dataset: an earlier stage (get, or hold-out.train, split.first, …), or a path',
);

/** What a stage runs with, beside its settings. */
export type StageContext = {
  readonly id: string;
  readonly title: string;
  /** Seed of the experiment. */
  readonly seed: number;
  /** The stage's folder. */
  readonly out: string;
  /** Folder of fetched data sets, which experiments share. */
  readonly dataFolder: string;
  /** Decoding threads. */
  readonly workers: number;
  /** Replace what stands in the stage's folder: the experiment made it. */
  readonly force: boolean;
  /** Continue what an interrupted attempt with the same settings and inputs left. */
  readonly resume: boolean;
  /** Begin anew where an interrupted attempt cannot continue because its files are damaged: the user has given --force. */
  readonly restart: boolean;
  /** Fires when the run is told to stop; a stage may let `signal.throwIfAborted()` end it. */
  readonly signal: AbortSignal;
  readonly reporter: Reporter;
};

/** What a stage with inputs given by path needs to know of the file it stands in. */
export type StageOrigin = {
  readonly id: string;
  /** The experiment file. */
  readonly file: string;
  readonly seed: number;
  readonly preset: 'default' | 'reference';
};

type Settings<O extends z.ZodRawShape, I extends z.ZodRawShape> = z.infer<z.ZodObject<I>> & z.infer<z.ZodObject<O>>;

/** What a kind of stage is defined by; `defineStage` makes a `StageKind` of it. */
type Definition<O extends z.ZodRawShape, I extends z.ZodRawShape, P extends string> = {
  /** The `do` of an experiment file. */
  readonly kind: string;
  /** What it does, for the documentation. */
  readonly summary: string;
  readonly options: O;
  /** Settings all of whose strings, however deep, are references. */
  readonly inputs: I;
  /** Options, by path (`recipe.init.from`), that name a file or an artefact: its content counts, not where it stands. */
  readonly files?: readonly string[];
  /** Names of the parts, if it makes several things. */
  readonly outputs?: readonly P[];
  /** Sub-folder of the data folder where it makes its outputs: they may be removed, and are made again if a stage needs them. */
  readonly sharedFolder?: (stage: Settings<O, I>) => string;
  /** Its result carries the experiment's title: with another one it is made again. */
  readonly titled?: boolean;
  /** Completes the settings when the file is read. @throws UserError if they are wrong. */
  readonly complete?: (stage: Settings<O, I>, origin: StageOrigin) => Promise<Settings<O, I>>;
  /** A line of what it does; inputs are as the file has them. */
  readonly describe: (stage: Settings<O, I>) => string;
  /**
   * Makes the outputs; inputs are places. @returns the place of each part; of a stage without parts, that of its output if it
   * is a string, else the output is the stage's folder
   */
  readonly run: (
    stage: Settings<O, I>,
    context: StageContext,
  ) => Promise<[P] extends [never] ? unknown : Readonly<Record<NoInfer<P>, string>>>;
};

/** A stage as an experiment file describes it. */
export type Stage = { readonly do: string; readonly [setting: string]: unknown };

/** A kind of stage. */
export type StageKind = {
  readonly kind: string;
  readonly summary: string;
  readonly schema: z.ZodObject<{ do: z.ZodLiteral<string> }>;
  /** Names of the settings that are inputs. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly sharedFolder: ((stage: Stage) => string) | undefined;
  readonly titled: boolean;
  readonly complete: (stage: Stage, origin: StageOrigin) => Promise<Stage>;
  readonly describe: (stage: Stage) => string;
  /** References of a stage, in the order of their declaration. */
  readonly references: (stage: Stage) => readonly string[];
  /** The files and artefacts that its options name, by the path of the option. */
  readonly files: (stage: Stage) => Readonly<Record<string, string>>;
  /** Runs the stage with the places of its references. → place of each output: `id`, or `id.part` */
  readonly run: (
    stage: Stage,
    place: (reference: string) => string,
    context: StageContext,
  ) => Promise<Readonly<Record<string, string>>>;
};

/** Defines a kind of stage: its schema, references and places follow from what is declared. */
export function defineStage<O extends z.ZodRawShape, I extends z.ZodRawShape, const P extends string = never>(
  definition: Definition<O, I, P>,
): StageKind {
  const {
    kind,
    summary,
    options,
    inputs,
    files = [],
    outputs = [],
    sharedFolder,
    titled = false,
    complete,
    describe,
    run,
  } = definition;
  const typed = (stage: Stage) => stage as unknown as Settings<O, I>;
  const names = Object.keys(inputs);
  const references = (stage: Stage): string[] => names.flatMap((name) => stringsIn(stage[name]));
  return {
    kind,
    summary,
    schema: z.strictObject({ do: z.literal(kind), ...inputs, ...options }) as unknown as StageKind['schema'],
    inputs: names,
    outputs,
    sharedFolder: sharedFolder && ((stage) => sharedFolder(typed(stage))),
    titled,
    complete: async (stage, origin) =>
      complete ? ({ ...stage, ...(await complete(typed(stage), origin)) } as Stage) : stage,
    describe: (stage) => describe(typed(stage)),
    references,
    files: (stage) => {
      const inputs = references(stage);
      const named = files.map((path) => [path, settingAt(stage, path)] as const);
      return Object.fromEntries(
        named.filter((one): one is [string, string] => typeof one[1] === 'string' && !inputs.includes(one[1])),
      );
    },
    run: async (stage, place, context) => {
      const placed = Object.fromEntries(names.map((name) => [name, withStrings(stage[name], place)]));
      const made = await run(typed({ ...stage, ...placed }), context);
      if (outputs.length === 0) return { [context.id]: typeof made === 'string' ? made : context.out };
      return Object.fromEntries(Object.entries(made as object).map(([part, at]) => [`${context.id}.${part}`, at]));
    },
  };
}

const stringsIn = (value: unknown): string[] =>
  typeof value === 'string'
    ? [value]
    : value !== null && typeof value === 'object'
      ? Object.values(value).flatMap(stringsIn)
      : [];

const settingAt = (stage: Stage, path: string): unknown =>
  path.split('.').reduce<unknown>((node, key) => mappingOf(node)[key], stage);

/** A copy of a tree with its strings changed; `at` is the path of each, such as `recipe.init.from`. */
export function withStrings(value: unknown, change: (text: string, at: string) => string, at = ''): unknown {
  if (typeof value === 'string') return change(value, at);
  if (value === null || typeof value !== 'object') return value;
  const below = (key: string | number): string => (at === '' ? `${key}` : `${at}.${key}`);
  if (Array.isArray(value)) return value.map((child, i) => withStrings(child, change, below(i)));
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, withStrings(child, change, below(key))]));
}
