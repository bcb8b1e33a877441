/** Commands that compute nothing and need no files. */
export const idleCommands = [
  '--version',
  '--help',
  'train --help',
  'schema recipe',
  'schema experiment',
  'schema thresholds',
  'recipes',
  'completion zsh',
  'completion fish mixbct',
] as const;
