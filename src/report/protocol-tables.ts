import type { Evaluation, IdentificationResult } from '../eval/index.ts';
import { powerOfTen } from '../eval/metrics/metric.ts';
import { percent } from './number-format.ts';
import type { TitledTable } from './summary-tables.ts';

/** Rates by the gallery that was searched. */
type Rates = readonly (readonly [searched: string, rates: readonly { readonly rate: number }[]])[];

/**
 * Tables of a published protocol of templates in the form of its papers: TAR at the nearest FAR and at most the FAR; hit rates
 * and TPIR of each gallery, their mean, and searches of both galleries at once (methods.md 6.5, 6.6). Evaluations of a labelled
 * set have none.
 */
export function protocolTables({ protocol, tests }: Evaluation): TitledTable[] {
  if (protocol.name === undefined) return [];
  const [first] = tests;
  const tables: TitledTable[] = [];
  if (first?.verification)
    for (const rule of ['nearest', 'atMost'] as const)
      tables.push({
        title: `${protocol.name} 1:1, TAR at ${rule === 'nearest' ? 'the nearest FAR, as published' : 'FAR ≤ target'}`,
        header: ['query → gallery', ...first.verification.tar.map(({ far }) => powerOfTen(far)), 'AUC'],
        rows: tests.map(({ query, gallery, verification }) => [
          `${query} → ${gallery}`,
          ...verification!.tar.map((entry) => percent(entry[rule])),
          percent(verification!.auc),
        ]),
      });
  if (first?.identification) {
    const searched = (title: string, header: readonly string[], ratesOf: (found: IdentificationResult) => Rates) => ({
      title: `${protocol.name} 1:N, ${title}`,
      header: ['query → gallery', 'searched', ...header],
      rows: tests.flatMap(({ query, gallery, identification }) =>
        ratesOf(identification!).map(([name, rates]) => [
          `${query} → ${gallery}`,
          name,
          ...rates.map(({ rate }) => percent(rate)),
        ]),
      ),
    });
    const { ranks, tpir } = first.identification;
    tables.push(
      searched(
        'hit rate at rank',
        ranks.map(({ rank }) => `${rank}`),
        ({ galleries = [], ranks, mixed = [] }) => [
          ...galleries.map((one) => [one.name, one.ranks] as const),
          ['mean', ranks],
          ['mixed', mixed],
        ],
      ),
      searched(
        'TPIR at FPIR',
        tpir.map(({ fpir }) => powerOfTen(fpir)),
        ({ galleries = [], tpir }) => [...galleries.map((one) => [one.name, one.tpir] as const), ['mean', tpir]],
      ),
    );
  }
  return tables;
}
