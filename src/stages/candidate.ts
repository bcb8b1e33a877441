import { kindAt } from '../artifacts/manifest.ts';
import { UserError } from '../base/errors.ts';
import type { EvaluateSetsOptions } from './evaluate-sets.ts';

/**
 * Reads a new model to evaluate: `name=features`, `name=own,old` with a feature set in the old space, `name=features+adapter`.
 * `called`: what messages call it.
 * @throws UserError if the text has another form.
 */
export function candidateFrom(text: string, called = text): EvaluateSetsOptions['candidates'][number] {
  const [, name, path, inOldSpace] = /^([^=]+)=([^,]+)(?:,([^,]+))?$/.exec(text) ?? [];
  if (name === undefined || path === undefined) throw new UserError(`${called}: wanted name=folder`);
  const plus = path.lastIndexOf('+');
  const adapter = path.slice(plus + 1);
  if (plus < 0 || kindAt(adapter) !== 'adapter')
    return { name, features: path, ...(inOldSpace !== undefined && { inOldSpace }) };
  if (inOldSpace !== undefined) throw new UserError(`${called}: wanted an adapter or a second feature set, not both`);
  return { name, features: path.slice(0, plus), adapter };
}
