import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { writeIds } from '../artifacts/id-list.ts';
import { type DatasetReference, referenceTo, requireSameDataset } from './dataset-reference.ts';
import { openDataset } from './index.ts';
import { writeSidecar } from './sidecar.ts';

test('an artefact belongs to its dataset with its names and ids; one of 0.3.0 to its records alone', async (t) => {
  const prefix = join(testFolder(t), 'set');
  await writeTinySet(prefix, { perClass: [2, 1], families: 2 });
  const [classes, families] = [['class 0', 'class 1'], ['family 0', 'family 1']]; // biome-ignore format: short
  const reference = (): DatasetReference => {
    using dataset = openDataset(prefix);
    return referenceTo(dataset);
  };
  const check = (made: DatasetReference): void => {
    using dataset = openDataset(prefix);
    requireSameDataset({ dataset: made, count: 3 }, dataset, 'features');
  };
  const made = reference();
  check(made);
  writeSidecar(prefix, { classes, families, note: 'a note is no part of it' });
  check(made);
  const others = /features: made from .*set, whose class names, family names or image ids differ/;
  const changes: readonly (() => void)[] = [
    () => writeSidecar(prefix, { classes, families: families.toReversed() }),
    () => writeSidecar(prefix, { classes: ['a', 'b'], families }),
    () => writeSidecar(prefix, { classes, families }, ['a/1', 'a/2', 'b/1']),
    () => rmSync(`${prefix}.json`),
  ];
  const { description: _, ...older } = made;
  for (const change of changes) {
    change();
    assert.throws(() => check(made), others, String(change));
    check(older);
    check(reference());
    writeSidecar(prefix, { classes, families });
  }
  writeIds(`${prefix}.ids.jsonl`, ['a/1', 'a/2', 'b/1']);
  const withIds = reference();
  writeIds(`${prefix}.ids.jsonl`, ['a/2', 'a/1', 'b/1']);
  assert.throws(() => check(withIds), others);
});
