import type {
  CandidateResult,
  Change,
  ChangedPair,
  ChangedSearch,
  DecisionChanges,
  PairChanges,
  SearchChanges,
} from '../eval/index.ts';
import { linkedTerm } from './definitions.ts';
import { htmlText } from './format.ts';
import { groupDigits, percent, percentWithInterval, rateText, scoreText } from './number-format.ts';
import { details, nameHtml, table } from './page-parts.ts';
import type { ReportPictures } from './pictures.ts';
import { farText } from './threshold-tables.ts';

/** What an upgrade changes for the users of the old gallery: searches and pairs that it repairs and breaks, with pictures. */
export function changesSection({ name, changes }: CandidateResult, pictures: ReportPictures): string {
  if (!changes) return '';
  const { searches, pairs } = changes;
  const note = pictures.note === null ? '' : `<p class="small">${htmlText(pictures.note)}</p>`;
  return [note, searches && searchesPart(name, searches, pictures), pairs && pairsPart(pairs, pictures)].join('\n');
}

function searchesPart(name: string, searches: SearchChanges, pictures: ReportPictures): string {
  return `<h4>Searches that change</h4>
${searchesText(searches)}
${changeBar(searches)}
${searchExamples('Broken', `the old model finds the right entry first, ${name} another one`, searches.examples.broken, pictures)}
${searchExamples('Repaired', `the old model finds another entry first, ${name} the right one`, searches.examples.repaired, pictures)}
${worstClasses(searches, pictures)}`;
}

function pairsPart(pairs: PairChanges, pictures: ReportPictures): string {
  const far = pairs.far === undefined ? '' : ` of ${farText(pairs.far)}`;
  return `<h4>Pairs that change</h4>
<p>A pair is accepted if its score is above the ${linkedTerm('threshold')}: ${scoreText(pairs.oldThreshold)} for old → old, ${scoreText(pairs.newThreshold)} for the new model’s queries, which keeps the ${linkedTerm('FAR')}${far}.${pairs.impostor ? '' : ' The impostor pairs of this protocol are too many to be compared one by one.'}</p>
${table(
  ['pairs', 'of', 'repaired', '95 %', 'broken', '95 %'],
  [decisionsRow('genuine pairs', pairs.genuine), ...(pairs.impostor ? [decisionsRow('impostor pairs', pairs.impostor, rateText)] : [])], // biome-ignore format: short
  { caption: 'share in percent' },
)}
${pairExamples(pairs, pictures)}`;
}

const share = ({ share: { low, high } }: Change, text = percent): string => `[${text(low)}, ${text(high)}]`;

function decisionsRow(what: string, { pairs, repaired, broken }: DecisionChanges, text = percent): string[] {
  const cell = ({ count, share: { value } }: Change): string => `${text(value)} (${groupDigits(count)})`;
  return [what, groupDigits(pairs), cell(repaired), share(repaired, text), cell(broken), share(broken, text)];
}

const searchesText = ({ searches, repaired, broken }: SearchChanges): string =>
  `<p>Of ${groupDigits(searches)} searches of the old gallery for an enrolled identity the new model’s queries <b class="good">repair ${groupDigits(repaired.count)}</b> (${linkedTerm('repaired')}: ${percentWithInterval(repaired.share)} %) and <b class="bad">break ${groupDigits(broken.count)}</b> (${linkedTerm('broken')}: ${percentWithInterval(broken.share)} %), by ${linkedTerm('rank-1')}.</p>`;

/** The shares of repaired and broken searches side by side. */
function changeBar({ repaired, broken }: SearchChanges): string {
  const most = Math.max(repaired.share.value, broken.share.value, 1e-9);
  const part = (change: Change, className: string, what: string): string =>
    `<div class="${className}"><i style="width:${((100 * change.share.value) / most).toFixed(1)}%"></i><span>${what} ${percent(change.share.value)} %</span></div>`;
  return `<div class="change-bar" aria-hidden="true">${part(repaired, 'good', 'repaired')}${part(broken, 'bad', 'broken')}</div>`;
}

const picture = (address: string, alt: string): string => `<img src="${htmlText(address)}" alt="${htmlText(alt)}">`;

function searchExamples(
  title: string,
  what: string,
  examples: readonly ChangedSearch[],
  pictures: ReportPictures,
): string {
  const rank = (n: number | null): string => (n === null ? 'not found' : groupDigits(n));
  if (pictures.templates && examples.length > 0)
    return details(
      `${title}: ${htmlText(what)}`,
      table(
        ['query template', 'right entry', 'wrong entry', 'rank of the right one'],
        examples.map(({ query, right, wrong, oldRank, newRank }) => [`${query}`, `${right}`, `${wrong}`, `${rank(oldRank)} → ${rank(newRank)}`]), // biome-ignore format: short
        { caption: `ids of templates; ${examples.length} drawn by seed, of each subject at most one` },
      ),
    );
  const cards = examples.flatMap(({ query, right, wrong, oldRank, newRank }) => {
    const [q, r, w] = [query, right, wrong].map((i) => pictures.image(i));
    if (q === undefined || r === undefined || w === undefined) return [];
    return [
      `<li><figure class="example"><div>${picture(q, `query ${query}`)}${picture(r, `right entry ${right}`)}${picture(w, `wrong entry ${wrong}`)}</div><figcaption>rank ${rank(oldRank)} → ${rank(newRank)}</figcaption></figure></li>`,
    ];
  });
  if (cards.length === 0) return '';
  return `<h5>${title}: ${htmlText(what)}</h5>
<p class="small">Each: the query, the right entry, the wrong entry that was found; the rank of the right entry by the old model → by the new one. ${cards.length} drawn by seed, of each class at most one.</p>
<ul class="examples">${cards.join('')}</ul>`;
}

function worstClasses({ worstClasses: classes }: SearchChanges, pictures: ReportPictures): string {
  if (classes.length === 0) return '';
  return details(
    `The ${classes.length} ${pictures.templates ? 'subjects' : 'classes'} that lose most`,
    table(
      [pictures.templates ? 'subject' : 'class', 'searches', 'repaired', 'broken'],
      classes.map(({ label, searches, repaired, broken }) => [pictures.className(label), ...[searches, repaired, broken].map(groupDigits)]), // biome-ignore format: short
    ),
  );
}

function pairExamples({ genuine, impostor }: PairChanges, pictures: ReportPictures): string {
  const groups = [
    ['Genuine pairs that are rejected now (broken)', genuine.examples.broken],
    ['Genuine pairs that are accepted now (repaired)', genuine.examples.repaired],
    ['Impostor pairs that are accepted now (broken)', impostor?.examples.broken ?? []],
    ['Impostor pairs that are rejected now (repaired)', impostor?.examples.repaired ?? []],
  ] as const;
  const shown = groups.flatMap(([title, examples]) => {
    const cards = examples.flatMap((pair) => pairCard(pair, pictures));
    return cards.length > 0 ? [`<h5>${title}</h5>\n<ul class="examples">${cards.join('')}</ul>`] : [];
  });
  if (shown.length === 0) return '';
  return details(
    'Pairs nearest to the threshold, with pictures',
    `<p class="small">Query and gallery entry; the score by the old model → by the new one. Of each kind those whose new score is nearest to the new threshold.</p>\n${shown.join('\n')}`,
  );
}

function pairCard({ query, gallery, oldScore, newScore }: ChangedPair, pictures: ReportPictures): string[] {
  const [q, g] = [query, gallery].map((i) => pictures.image(i));
  if (q === undefined || g === undefined) return [];
  return [
    `<li><figure class="example"><div>${picture(q, `query ${query}`)}${picture(g, `entry ${gallery}`)}</div><figcaption>${scoreText(oldScore)} → ${scoreText(newScore)}</figcaption></figure></li>`,
  ];
}

/** What a page without the figures of an older evaluation says. */
export const changesAbsent = (name: string): string =>
  `<p class="small">${nameHtml(name)}: this evaluation is of an earlier version, which did not record what changes.</p>`;
