import { chanceOfRankOne, EVERY_PROTOCOL, type Metric, powerOfTen } from './metric.ts';

/** True positive identification rate at a false positive identification rate of `fpir`. */
export const tpirAtFpir = (fpir: number): Metric => ({
  name: `TPIR@FPIR=${powerOfTen(fpir)}`,
  term: 'TPIR@FPIR',
  meaning:
    'share of searches that find the right entry first and above the threshold, which lets this share of unknown people raise an alarm',
  column: { family: 'TPIR@FPIR', level: fpir },
  verdict: { protocols: EVERY_PROTOCOL, chance: (galleries) => fpir * chanceOfRankOne(galleries), summary: false },
  stored: ({ identification }) => identification?.tpir.find((entry) => entry.fpir === fpir)?.rate,
  test: 'identification',
  measure: ({ tpir }) => tpir(fpir),
});
