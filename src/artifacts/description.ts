/** What one thing on disk says of another that it was made from. */
export type Reference = {
  /** `kind` of its manifest; or `dataset`, or `file` for what is no artefact. */
  readonly kind: string;
  readonly name?: string;
  /** Absent: it is not recorded. */
  readonly digest?: string;
  /** Where it was, as it was named then: relative to a working folder that is not recorded. */
  readonly path?: string;
  /** What else is known of it, as text. */
  readonly note?: string;
  /** What it was made from itself, for readers who cannot open it. */
  readonly sources?: readonly Reference[];
};

/** Facts of an artefact by their names, for people, and what it was made from. */
export type About = {
  readonly facts: Readonly<Record<string, string | number>>;
  readonly sources: readonly Reference[];
  /** The command that made it, if that is another than the kind's. */
  readonly command?: string;
};
