import { kindAt } from '../artifacts/manifest.ts';
import { UserError } from '../base/errors.ts';
import type { EvaluateSetsOptions } from './evaluate-sets.ts';

/** A new model's features, and how its queries meet the old gallery if not as they are. */
type NewModel = Omit<EvaluateSetsOptions['candidates'][number], 'name'>;

/**
 * Reads a new model to evaluate: `name=features`, `name=own,old` with a feature set in the old space, `name=features+adapter`.
 * `called`: what messages call it.
 * @throws UserError if the text has another form.
 */
export function candidateFrom(text: string, called = text): EvaluateSetsOptions['candidates'][number] {
  const [, name, model] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || model === undefined) throw new UserError(`${called}: wanted name=folder`);
  return { name, ...newModelFrom(model, called) };
}

/** Reads `features`, `own,old` or `features+adapter`. @throws UserError if the text has another form. */
export function newModelFrom(text: string, called = text): NewModel {
  const [, path, inOldSpace] = /^([^,]+)(?:,([^,]+))?$/.exec(text) ?? [];
  if (path === undefined) throw new UserError(`${called}: wanted a folder, or two with a comma between them`);
  const plus = path.lastIndexOf('+');
  const adapter = path.slice(plus + 1);
  if (plus < 0 || kindAt(adapter) !== 'adapter')
    return { features: path, ...(inOldSpace !== undefined && { inOldSpace }) };
  if (inOldSpace !== undefined) throw new UserError(`${called}: wanted an adapter or a second feature set, not both`);
  return { features: path.slice(0, plus), adapter };
}
