// What --force may not replace, with real commands; scripts/faults.ts tries all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { forcedOutputs } from '../../test/helpers/forced-outputs.ts';
import { writeInputs } from '../../test/helpers/writers.ts';

test('no command replaces by --force what is not its own: strange folders and files, its inputs, the current folder, links; none writes into an artefact', async (t) => {
  const folder = testFolder(t);
  await writeInputs(folder);
  for (const name of ['import', 'hold-out', 'average', 'adapt-fit', 'backfill', 'run', 'export', 'embed']) {
    const { tried, lost } = forcedOutputs(folder, name);
    assert.ok(tried > 0);
    assert.deepEqual(lost, [], name);
  }
});
