import { UserError } from '../base/errors.ts';
import { didYouMean } from '../base/suggestion.ts';
import type { Module } from '../nn/index.ts';

/**
 * Excludes parameters and stages of a backbone from training, by their names: `layer1` covers `layer1.0.conv1.weight`.
 * @throws UserError if a name covers no parameter
 */
export function freezeParts(backbone: Module, names: readonly string[]): void {
  const paths = [...backbone.parameters()].map(([path]) => path);
  const isPart = (name: string, path: string): boolean => path === name || path.startsWith(`${name}.`);
  const stages = [...new Set(paths.map((path) => path.split('.', 1)[0]!))];
  for (const name of names)
    if (!paths.some((path) => isPart(name, path)))
      throw new UserError(
        `freeze: the backbone has no parameter or stage ${name}${didYouMean(name, [...stages, ...paths])}`,
        { hint: `its stages: ${stages.join(', ')}` },
      );
  backbone.freeze((path) => names.some((name) => isPart(name, path)));
}
