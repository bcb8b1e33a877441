import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { applyWeightRule } from '../../test/helpers/weights.ts';
import { Rng } from '../base/rng.ts';
import { makeBackbone } from '../models/index.ts';
import { requireNamed } from '../models/precisions.ts';
import { bf16Instructions, liveTensors, setThreads } from '../torch/index.ts';
import { fasterPrecision } from './index.ts';

before(() => setThreads(1));

test('the faster precision is one that this processor has instructions for, and nothing is left behind', async () => {
  const before = liveTensors();
  const backbone = makeBackbone('r18', { embeddingDim: 16, inputSide: 32, width: 0.25 }, new Rng(3));
  applyWeightRule(backbone);
  const chosen = await fasterPrecision({ backbone, projection: null }, { side: 32 });
  assert.ok(chosen === 'float32' || (chosen === 'bf16' && bf16Instructions().length > 0), chosen);
  backbone.dispose();
  assert.equal(liveTensors(), before);
});

test('several processes or shards have to name one', () => {
  assert.throws(
    () => requireNamed('auto', 'shards'),
    /precision auto: shards might each choose another one\n.*--precision/,
  );
  requireNamed('bf16', 'shards');
});
