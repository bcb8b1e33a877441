import { calibrateOne } from '../eval/calibration.ts';
import type { CandidateResult, DropInTest, Evaluation, OperatingPointResult } from '../eval/index.ts';
import { mean } from '../eval/mean.ts';
import { percent, percentWithInterval, pointsWithInterval, rateText, scoreText } from './number-format.ts';
import type { TitledTable } from './summary-tables.ts';

/** 0.001 as 1e-3, 0.0025 as 2.5e-3 */
export const farText = (far: number): string => Number(far.toPrecision(3)).toExponential();

/** Every test at the threshold of old → old, and the threshold that keeps its FAR. Evaluations without such figures have none. */
export function thresholdTables({ operatingPoint, tests }: Evaluation): TitledTable[] {
  if (!operatingPoint) return [];
  const far = farText(operatingPoint.far);
  return [
    {
      title: `At the old threshold ${scoreText(operatingPoint.threshold)} (old → old at FAR ${far})`,
      header: [
        'query → gallery',
        'TAR, 95 %',
        'FAR, 95 %',
        'TPIR',
        'FPIR',
        `threshold for FAR ${far}, 95 %`,
        'TAR there',
      ],
      rows: tests.flatMap((test) =>
        test.operatingPoint ? [[`${test.query} → ${test.gallery}`, ...ratesRow(test.operatingPoint)]] : [],
      ),
    },
  ];
}

const ratesRow = ({ atOldThreshold, keepingFar }: OperatingPointResult): string[] => [
  percentWithInterval(atOldThreshold.tar),
  percentWithInterval(atOldThreshold.far, rateText),
  percent(atOldThreshold.tpir.value),
  percent(atOldThreshold.fpir.value),
  percentWithInterval(keepingFar.threshold, scoreText),
  percent(keepingFar.tar.value),
];

/** How the scores of each test become log-odds of genuine, and the log loss on held-out identities by which that was chosen. */
export function calibrationTables({ tests }: Evaluation): TitledTable[] {
  const loss = (x: number | undefined): string => (x === undefined ? '–' : x.toFixed(4));
  if (!tests.some(({ operatingPoint }) => operatingPoint?.calibration)) return [];
  return [
    {
      title: 'Calibration to log-odds of genuine',
      header: ['query → gallery', 'kind', 'log loss, platt', 'isotonic', 'threshold in log-odds'],
      rows: tests.flatMap(({ query, gallery, operatingPoint }) => {
        const { calibration: chosen, keepingFar } = operatingPoint ?? {};
        if (!chosen) return [];
        const { calibration, heldOut } = chosen;
        return [
          [
            `${query} → ${gallery}`,
            calibration.kind,
            loss(heldOut?.platt),
            loss(heldOut?.isotonic),
            calibrateOne(calibration, keepingFar!.threshold.value).toFixed(2),
          ],
        ];
      }),
    },
  ];
}

/** One test at its operating point; absent where the evaluation has none. */
export const operatingPointOf = ({ tests, models }: Evaluation, query: string): OperatingPointResult | undefined => {
  const old = models.find(({ role }) => role === 'old')?.name;
  return tests.find((test) => test.query === query && test.gallery === old)?.operatingPoint;
};

const columns = ['new model', 'grade', 'TAR', 'over old → old', 'FAR', 'FAR of old → old', 'new threshold'] as const;

/** New models at the old threshold: a table for each FAR. A row is a new model; each evaluation's own figures stand in parentheses. */
export function gradeTables(evaluations: readonly Evaluation[]): TitledTable[] {
  const fars = [...new Set(evaluations.flatMap(({ operatingPoint }) => operatingPoint?.far ?? []))];
  return fars.flatMap((far) => {
    const graded = evaluations.filter(({ operatingPoint }) => operatingPoint?.far === far).flatMap(gradedModels);
    if (graded.length === 0) return [];
    const names = [...new Set(graded.map(({ name }) => name))];
    return {
      title: `At the threshold of old → old at FAR ${farText(far)}`,
      header: columns,
      rows: names.map((name) =>
        gradeRow(
          name,
          graded.filter((model) => model.name === name),
        ),
      ),
    };
  });
}

type GradedModel = {
  readonly name: string;
  readonly dropIn: DropInTest;
  readonly crossed: OperatingPointResult;
  readonly farOfOld: number;
};

function gradedModels(evaluation: Evaluation): GradedModel[] {
  const old = evaluation.models.find(({ role }) => role === 'old')!.name;
  const farOfOld = operatingPointOf(evaluation, old)?.atOldThreshold.far.value ?? Number.NaN;
  return evaluation.candidates.flatMap(({ name, dropIn }: CandidateResult) => {
    const crossed = operatingPointOf(evaluation, name);
    return dropIn && crossed ? [{ name, dropIn, crossed, farOfOld }] : [];
  });
}

function gradeRow(name: string, models: readonly GradedModel[]): string[] {
  const listed = (of: (model: GradedModel) => string): string =>
    models.length > 1 ? `(${models.map(of).join(', ')})` : of(models[0]!);
  const grades = (['drop-in', 'new threshold', 'no', 'withheld'] as const).flatMap((grade) => {
    const count = models.filter(({ dropIn }) => dropIn.grade === grade).length;
    return count === 0 ? [] : [models.length === 1 ? grade : `${grade} ${count}`];
  });
  return [
    name,
    grades.join(', '),
    percent(mean(models.map(({ crossed }) => crossed.atOldThreshold.tar.value))),
    listed(({ dropIn }) => pointsWithInterval(dropIn.tarDifference)),
    listed(({ crossed }) => rateText(crossed.atOldThreshold.far.value)),
    listed(({ farOfOld }) => rateText(farOfOld)),
    listed(({ crossed }) => scoreText(crossed.keepingFar.threshold.value)),
  ];
}
