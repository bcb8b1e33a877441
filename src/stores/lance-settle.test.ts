// What is left of a cut-over or a rollback in LanceDB that was killed just after its swap, while an application wrote.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { addWhileSwapping, DIM, movedGallery, otherStamp, vectorOf } from '../../test/helpers/lance-gallery.ts';
import { oldStamp } from '../../test/helpers/store-conformance.ts';
import { readRecord, writeRecord } from './lance-record.ts';
import { openStore } from './open-store.ts';

const OTHER_DIM = 12;

type Moved = Awaited<ReturnType<typeof movedGallery>>;

/** Runs a step that is killed before its swap, or after it, because it cannot look at an earlier version. */
async function kill(
  t: TestContext,
  { table }: Moved,
  step: () => Promise<void>,
  when: 'before' | 'after' = 'after',
): Promise<void> {
  const call = when === 'before' ? 'mergeInsert' : 'checkout';
  const killed = t.mock.method(Object.getPrototypeOf(table), call, () => {
    throw new Error('killed');
  });
  await assert.rejects(step(), /killed/);
  killed.mock.restore();
}

/** A gallery whose cut-over was killed after its swap, which `late` overtook; what its vectors were. */
async function killedCutOver(t: TestContext, dim: number) {
  const gallery = await movedGallery(t, { dim });
  const before = (await gallery.content()).set('late', [...vectorOf(9, 5)]);
  addWhileSwapping(t, gallery.db, gallery.table, vectorOf(9, 5));
  await kill(t, gallery, () => gallery.store.cutOver());
  const after = await openStore(gallery.url);
  t.after(() => after[Symbol.asyncDispose]());
  assert.equal((await after.state()).migration!.phase, 'cut-over');
  return { ...gallery, before, after };
}

for (const dim of [DIM, OTHER_DIM]) {
  const what = dim === DIM ? 'equal dimensions' : 'other dimensions';

  for (const step of ['cutOver', 'finish'] as const)
    test(`LanceDB: after a kill, ${step} takes back a swap to ${what} that a row overtook`, async (t) => {
      const { after, before, content } = await killedCutOver(t, dim);
      await assert.rejects(after[step](), /the cut-over was killed and is taken back: its vectors are of old .* again, and 1 row has no new vector\n.*migrate run/); // biome-ignore format: short
      assert.deepEqual(await content(), before);
      assert.equal((await after.state()).migration!.phase, 'moving');
      const [late, ...others] = await after.page(null, 10, { only: 'unmoved' });
      assert.deepEqual([late!.key, others.length], ['late', 0]);
      // what it asks for, and both steps
      await after.commit({ rows: [{ ...late!, vector: vectorOf(9, 2, dim) }], entry: { batch: 2, at: '', ms: 1 } });
      await after.cutOver();
      await after.finish();
      assert.deepEqual((await content()).get('late'), [...vectorOf(9, 2, dim)]);
    });

  test(`LanceDB: after a kill, a rollback gives back what there was before a swap to ${what} that a row overtook`, async (t) => {
    const { after, before, content } = await killedCutOver(t, dim);
    await after.rollback();
    assert.deepEqual(await content(), before);
    assert.equal((await after.state()).migration, null);
  });

  test(`LanceDB: a rollback from ${what} that was killed after its swap is taken back if a row overtook it`, async (t) => {
    const gallery = await movedGallery(t, { dim });
    const { db, table, url, store, content } = gallery;
    await store.cutOver();
    const before = (await content()).set('late', [...vectorOf(9, 5, dim)]);
    addWhileSwapping(t, db, table, vectorOf(9, 5, dim));
    await kill(t, gallery, () => store.rollback());
    await using after = await openStore(url);
    assert.equal((await after.state()).migration!.phase, 'moving');
    await assert.rejects(after.rollback(), /1 row was written since the cut-over/);
    assert.deepEqual(await content(), before);
    assert.equal((await after.state()).migration!.phase, 'cut-over');
    await (await db.openTable('faces')).delete("id = 'late'");
    await after.rollback();
    for (const [id, vector] of await content()) assert.deepEqual(vector, [...vectorOf(Number(id.slice(1)), 0)]);
  });

  test(`LanceDB: a swap to ${what} that a row overtook is not taken back after a kill if others were written since; a vector for the row settles it`, async (t) => {
    const { after, content, db } = await killedCutOver(t, dim);
    await (await db.openTable('faces')).add([{ id: 'since', vector: [...vectorOf(11, 2, dim)] }]);
    const before = await content();
    for (const step of ['cutOver', 'rollback', 'finish'] as const)
      await assert.rejects(after[step](), /the exchange of the vectors was killed, 1 row that was written during it has no vector of other.* \(late\).* 1 row was written since\n.*write vectors/); // biome-ignore format: short
    assert.deepEqual(await content(), before);
    await (await db.openTable('faces')).update({ where: "id = 'late'", values: { vector: [...vectorOf(9, 2, dim)] } });
    await after.finish();
    assert.deepEqual(await content(), before.set('late', [...vectorOf(9, 2, dim)]));
  });

  test(`LanceDB: a rollback from ${what} that a row overtook is not taken back after a kill if others were written since`, async (t) => {
    const gallery = await movedGallery(t, { dim });
    const { db, table, url, store, content } = gallery;
    await store.cutOver();
    addWhileSwapping(t, db, table, vectorOf(9, 5, dim));
    await kill(t, gallery, () => store.rollback());
    const faces = await db.openTable('faces');
    await faces.add([{ id: 'since', vector: [...vectorOf(11, 0)] }]);
    const before = await content();
    await using after = await openStore(url);
    await assert.rejects(after.rollback(), /was killed, 1 row that was written during it has no vector of old.* \(late\).* 1 row was written since\n/); // biome-ignore format: short
    assert.deepEqual(await content(), before);
    await faces.checkoutLatest();
    await faces.update({ where: "id = 'late'", values: { vector: [...vectorOf(9, 0)] } });
    await after.rollback();
    assert.deepEqual(await content(), before.set('late', [...vectorOf(9, 0)]));
    assert.deepEqual((await after.state()).stamp, oldStamp);
  });

  test(`LanceDB: a cut-over to ${what} that was killed, and that no row overtook, can be finished`, async (t) => {
    const gallery = await movedGallery(t, { dim });
    await kill(t, gallery, () => gallery.store.cutOver());
    await using after = await openStore(gallery.url);
    await gallery.table.checkoutLatest();
    await gallery.table.add([{ id: 'r10', vector: [...vectorOf(10, 2, dim)] }]); // no row that it overtook
    await assert.rejects(after.cutOver(), /the cut-over has been/);
    await after.finish();
    assert.equal((await after.state()).stamp!.model.name, 'other');
    for (const [id, vector] of await gallery.content()) assert.deepEqual(vector, [...vectorOf(Number(id.slice(1)), 2, dim)]); // biome-ignore format: short
    const { fields } = await (await gallery.db.openTable('faces')).schema();
    assert.deepEqual(fields.map(({ name }) => name), ['id', 'vector']); // biome-ignore format: short
  });
}

test('LanceDB: a cut-over that can be neither kept nor taken back says that it was overtaken, not killed', async (t) => {
  const { content, db, store, table } = await movedGallery(t, { dim: OTHER_DIM });
  addWhileSwapping(t, db, table, vectorOf(9, 5));
  // another row, between the swap and the look at what overtook it
  const prototype = Object.getPrototypeOf(table);
  const { checkout } = prototype;
  const since = t.mock.method(prototype, 'checkout', async function (this: typeof table, version: number) {
    since.mock.restore();
    await (await db.openTable('faces')).add([{ id: 'since', vector: [...vectorOf(11, 2, OTHER_DIM)] }]);
    await checkout.call(this, version);
  });
  await assert.rejects(store.cutOver(), /the exchange of the vectors was overtaken, 1 row that was written during it has no vector of other.* \(late\).* 1 row was written since\n.*write vectors/); // biome-ignore format: short
  const now = await content();
  assert.deepEqual([now.size, now.get('late'), now.get('since')!.length], [12, null, OTHER_DIM]);
});

test('LanceDB: records of swaps that say no version are settled by the column with the former vectors', async (t) => {
  const { after, before, content, db } = await killedCutOver(t, OTHER_DIM);
  await writeRecord(db, 'faces.vector', { swapping: '2026-01-01T00:00:00.000Z' });
  await assert.rejects(after.finish(), /is taken back: its vectors are of old .* again, and 1 row has no new vector/);
  assert.deepEqual(await content(), before);
  assert.equal((await after.state()).migration!.phase, 'moving');
  assert.equal((await readRecord(db, 'faces.vector')).swapping, null);
});

test('LanceDB: a swap of equal dimensions whose versions the application has removed is settled as the vectors are', async (t) => {
  const { after, db } = await killedCutOver(t, DIM);
  await (await db.openTable('faces')).optimize({ cleanupOlderThan: new Date() });
  await assert.rejects(after.rollback(), /1 row was written since the cut-over/);
  await assert.rejects(after.cutOver(), /the cut-over has been/);
  assert.deepEqual((await after.state()).stamp, otherStamp);
});

for (const step of ['cutOver', 'rollback'] as const)
  for (const when of ['before', 'after'] as const)
    test(`LanceDB: the phase after a ${step} that was killed ${when} its swap is told by the rows that the application has not deleted`, async (t) => {
      const gallery = await movedGallery(t, { rows: 200 });
      const { db, url, store, content } = gallery;
      // the first 68, more than are looked at together
      const retain = async () => void (await (await db.openTable('faces')).delete("id < 'r16'"));
      if (step === 'rollback') await store.cutOver();
      if (step === 'rollback') await retain();
      await kill(t, gallery, () => store[step](), when);
      if (step === 'cutOver') await retain();
      await using after = await openStore(url);
      const { phase } = (await after.state()).migration!;
      assert.equal(phase, (step === 'cutOver') === (when === 'after') ? 'cut-over' : 'moving');
      const now = phase === 'cut-over' ? 2 : 0;
      for (const [id, vector] of await content()) assert.deepEqual(vector, [...vectorOf(Number(id.slice(1)), now)]);
      await after.rollback();
      assert.deepEqual((await after.state()).stamp, oldStamp);
      assert.equal((await content()).size, 132);
      for (const [id, vector] of await content()) assert.deepEqual(vector, [...vectorOf(Number(id.slice(1)), 0)]);
    });

test('LanceDB: after a kill, a few rows that the application gave their former vectors do not tell the phase', async (t) => {
  const gallery = await movedGallery(t);
  const { db, url, store, content } = gallery;
  await store.cutOver();
  await kill(t, gallery, () => store.rollback(), 'before');
  await (await db.openTable('faces')).update({ where: "id = 'r0'", values: { vector: [...vectorOf(0, 0)] } });
  await using after = await openStore(url);
  assert.equal((await after.state()).migration!.phase, 'cut-over');
  await assert.rejects(after.rollback(), /1 row was written since the cut-over/);
  assert.deepEqual((await content()).get('r1'), [...vectorOf(1, 2)]);
});

test('LanceDB: after a kill, a gallery without a row that tells keeps its phase', async (t) => {
  const gallery = await movedGallery(t);
  const { db, url, store } = gallery;
  await store.cutOver();
  await kill(t, gallery, () => store.rollback(), 'before');
  const faces = await db.openTable('faces');
  await faces.delete('true');
  await faces.add([{ id: 'since', vector: [...vectorOf(11, 2)] }]);
  await using after = await openStore(url);
  assert.equal((await after.state()).migration!.phase, 'cut-over');
  await assert.rejects(after.rollback(), /1 row was written since the cut-over/);
  assert.deepEqual((await after.state()).stamp, otherStamp);
});
