import { metrics } from '../eval/metrics/index.ts';
import { glossary, htmlText } from './format.ts';

/** Terms of the page beside those of the glossary. */
const more: readonly (readonly [term: string, meaning: string])[] = [
  ['95 % interval', 'the middle 95 % of the bootstrap: identities are drawn anew with replacement, all models share the draws; bands of curves are the same'],
  ['difference', 'new → old minus old → old, in percentage points, both on the same pairs, searches and draws'],
  ['TAR', 'true accept rate: share of genuine pairs (two pictures of one identity) that score above a threshold'],
  ['FAR', 'false accept rate: share of impostor pairs (pictures of two identities) that score above a threshold'],
  ['TPIR', 'true positive identification rate: share of searches for an enrolled identity whose right entry comes first and lies above a threshold'],
  ['FPIR', 'false positive identification rate: share of searches for an identity that is not enrolled in which some entry lies above the threshold'],
  ['rank', 'position of the right entry among all entries, the most similar first; an equally similar entry of another identity counts as ahead of it'],
  ['threshold', 'a pair is accepted if its score, the cosine of both embeddings, is above it; that of the old system is looked at, too'],
  ['score', 'cosine of two embeddings: 1 is the same direction, 0 a right angle'],
  ['repaired', 'wrong by the old model, right by the new one, on the same old gallery (positive flip); its share is of all searches or pairs'],
  ['broken', 'right by the old model, wrong by the new one, on the same old gallery (negative flip); its share is of all searches or pairs. Repaired minus broken is the difference'],
  ['map', 'the plane of the first two principal components of the embeddings of both models: the flat view that keeps most of their variance. Points that are far apart in it are far apart; near ones need not be near'],
]; // biome-ignore format: short

/** All terms in the order of the page. */
export const definitions: readonly (readonly [term: string, meaning: string])[] = [...glossary, ...more];

/** Where a term is defined in the page. */
export const definitionId = (term: string): string => `def-${term.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '')}`; // biome-ignore format: short

/** Words of heads of columns and rows, and the term that defines them; the first that fits. */
const words: readonly (readonly [pattern: RegExp, term: string])[] = [
  ...metrics.map(({ name, term }) => [new RegExp(`^${name}( |$)`), term] as const),
  [/^TAR@FAR/, 'TAR@FAR'],
  [/^TPIR@FPIR/, 'TPIR@FPIR'],
  [/^(criterion|verdict)/, 'criterion'],
  [/^(update gain|gain)/, 'update gain'],
  [/^tax/, 'tax'],
  [/^grade|drop-in/, 'drop-in'],
  [/^(difference|over old)/, 'difference'],
  [/^95 %/, '95 % interval'],
  [/^(new threshold|threshold|old threshold)/, 'threshold'],
  [/^TAR|^1 − TAR|true accept/, 'TAR'],
  [/^FAR|^false accept/, 'FAR'],
  [/^TPIR/, 'TPIR'],
  [/^FPIR/, 'FPIR'],
  [/^(rank|rate)/, 'rank'],
  [/^repaired/, 'repaired'],
  [/^broken/, 'broken'],
  [/^score/, 'score'],
  [/→/, 'query → gallery'],
];

const termOf = (text: string): string | undefined => words.find(([pattern]) => pattern.test(text))?.[1];

/** Text as a link to the definition of what it names, plain where it names no term. */
export function linkedTerm(text: string, term = termOf(text)): string {
  return term === undefined ? htmlText(text) : `<a href="#${definitionId(term)}">${htmlText(text)}</a>`;
}

/** Heads of a table as links; a level alone, such as 1e-3, belongs to the head before it. */
export function linkedHeads(header: readonly string[]): string[] {
  let before: string | undefined;
  return header.map((text) => {
    before = /^1e-?\d+$|^1$/.test(text) ? before : termOf(text);
    return linkedTerm(text, before);
  });
}
