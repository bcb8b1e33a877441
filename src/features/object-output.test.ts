// Images in object storage and outputs there, against a server of the same calls in this process: test/helpers/s3-server.ts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { recordingEncoder, SIDE } from '../../test/helpers/encoder.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeImages } from '../../test/helpers/image-tree.ts';
import { reportsOf } from '../../test/helpers/reports.ts';
import { BUCKET, type S3Server, startS3Server } from '../../test/helpers/s3-server.ts';
import { headObject, listObjects, readObject, uploadFile } from '../artifacts/object-store.ts';
import type { ImageSet } from '../data/dataset.ts';
import { listImages, unlabelledImages } from '../data/image-list.ts';
import { embedImages, embedShardTo, embedTo, mergeShardsTo } from './index.ts';

const IMAGES = 22;
const options = { batchSize: 4, workers: 0 } as const;
const url = (key: string): string => `s3://${BUCKET}/${key}`;
const names = Array.from({ length: IMAGES }, (_, i) => `${i % 3}/${i}.pgm`);

// The client reads the environment once: all of this file is one test with one server.
test('object storage', async (t) => {
  const server = await startS3Server(t);
  const folder = testFolder(t);
  const at = (name: string): string => join(folder, name);
  const before = { ...process.env };
  Object.assign(process.env, server.env, { MIXBCT_HOME: at('home') });
  t.after(() => {
    for (const name of ['MIXBCT_HOME', ...Object.keys(server.env)]) delete process.env[name];
    Object.assign(process.env, before);
  });
  writeImages(at('photos'), names, SIDE);
  for (const name of names) await uploadFile(at(`photos/${name}`), url(`photos/${name}`));
  writeFileSync(at('notes'), 'no image');
  await uploadFile(at('notes'), url('photos/notes.txt'));
  await uploadFile(at('photos/0/0.pgm'), url('photos/.hidden/0.pgm'));
  await uploadFile(at('photos/0/0.pgm'), url('photos-of-others/0.pgm'));

  /** The same images by the same ids: files, or objects. */
  const images = async (path: (name: string) => string): Promise<ImageSet> => {
    writeFileSync(at('list'), names.map((name) => `${JSON.stringify({ id: name, path: path(name) })}\n`).join(''));
    return unlabelledImages(await listImages([], { list: at('list') }), 'list');
  };
  const local = await images((name) => at(`photos/${name}`));
  const remote = await images((name) => url(`photos/${name}`));
  mkdirSync(at('made'));
  for (const ending of ['npy', 'jsonl', 'parquet'])
    await embedImages(local, recordingEncoder().encoder, { ...options, out: at(`made/x.${ending}`) });
  const asLocal = async (key: string): Promise<void> => {
    const made = readdirSync(at('made')).filter((name) =>
      name.startsWith(
        key
          .split('/')
          .at(-1)!
          .replace(/\.\w+$/, ''),
      ),
    );
    const beside = made.filter((name) => name.startsWith('x.npy') || name === 'x.ids.jsonl' ? key.endsWith('.npy') : name.startsWith(key.split('/').at(-1)!)); // biome-ignore format: short
    assert.ok(beside.length >= 2);
    for (const name of beside) {
      const found = await readObject(url(key.replace(/[^/]*$/, name)));
      assert.ok(Buffer.from(found).equals(readFileSync(at(`made/${name}`))), name);
    }
  };
  const embed = (out: string, more = {}, set = remote) => embedTo(set, recordingEncoder().encoder, { ...options, out, ...more }); // biome-ignore format: short
  const own = (name: string, body: (t: TestContext) => Promise<void>) => t.test(name, async (sub) => {
    server.requests.length = 0;
    await body(sub);
    Object.assign(server, { fail: () => false, lose: () => false, conditional: true });
  }); // biome-ignore format: short

  await own('a prefix, an object and a list there name the images, sorted', async () => {
    const found = await listImages([url('photos')]);
    assert.deepEqual(found.map(({ id }) => id), names.map((name) => url(`photos/${name}`)).sort()); // biome-ignore format: short
    assert.equal((await listImages([url('photos/1')])).length, names.filter((name) => name.startsWith('1/')).length);
    assert.deepEqual((await listImages([url('photos/0/0.pgm')])).map(({ path }) => path), [url('photos/0/0.pgm')]); // biome-ignore format: short
    assert.equal((await listImages([`s3://${BUCKET}`])).length, IMAGES + 1);
    writeFileSync(at('paths'), `${url('photos/0/0.pgm')}\n${at('photos/1/1.pgm')}\n`);
    await uploadFile(at('paths'), url('lists/paths'));
    assert.equal((await listImages([], { list: url('lists/paths') })).length, 2);
    await assert.rejects(listImages([url('none')]), /is no object, and there are no images below it/);
    await assert.rejects(listImages(['s3://']), /is no address of an object/);
    await assert.rejects(listImages(['s3://nowhere/photos']), /nowhere\/photos\/: no such bucket/);
  });

  await own('objects embed to the bytes of the same files, in this thread and in others', async () => {
    for (const workers of [0, 2]) {
      const out = at(`remote${workers}.jsonl`);
      await embed(out, { workers });
      assert.ok(readFileSync(out).equals(readFileSync(at('made/x.jsonl'))));
    }
  });

  await own('outputs are the bytes of local ones, with what stands beside them, and replace nothing', async () => {
    for (const ending of ['npy', 'jsonl', 'parquet']) {
      await embed(url(`out/x.${ending}`), {}, local);
      await asLocal(`out/x.${ending}`);
      await assert.rejects(embed(url(`out/x.${ending}`)), /x\.\w+ exists already/);
    }
    const writes = server.requests.filter((request) => /^(PUT|POST) /.test(request));
    assert.equal(writes.at(-1), `POST ${BUCKET}/out/x.parquet`, 'the file itself comes last');
    const state = await headObject(url('out/x.npy'));
    await embed(url('out/x.npy'), { force: true });
    await asLocal('out/x.npy');
    assert.ok((await headObject(url('out/x.npy')))!.changedMs >= state!.changedMs);
    await assert.rejects(embed(url('out/../x.npy')), /is no name of an output/);
    await assert.rejects(embed(url('out/x.csv')), /the ending of an output is its format/);
  });

  await own('what mixbct has not written is never replaced', async () => {
    const { PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3');
    const client = new S3Client({ forcePathStyle: true });
    for (const Key of ['foreign/x.npy', 'beside/x.ids.jsonl']) await client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: 'mine' })); // biome-ignore format: short
    await assert.rejects(embed(url('foreign/x.npy')), /exists already/);
    await assert.rejects(embed(url('foreign/x.npy'), { force: true }), /was not written by mixbct/);
    await assert.rejects(embed(url('beside/x.npy'), { force: true }), /x\.ids\.jsonl was not written by mixbct/);
    assert.equal(await headObject(url('beside/x.npy')), null);
    for (const Key of ['foreign/x.npy', 'beside/x.ids.jsonl']) assert.equal(Buffer.from(await readObject(url(Key))).toString(), 'mine'); // biome-ignore format: short
  });

  await own('shards merge into the bytes of one process; a finished one is left as it is', async (sub) => {
    const shard = (i: number, more = {}, encoder = recordingEncoder()) =>
      embedShardTo(
        remote,
        encoder.encoder,
        { shard: i, shards: 3 },
        { ...options, out: url('fleet/x.parquet'), ...more },
      );
    for (const i of [3, 1]) await shard(i);
    const merge = (out: string, ...shards: string[]) => mergeShardsTo(shards, out);
    await assert.rejects(
      merge(at('merged.parquet'), url('fleet/x.parquet.shard-*-of-3')),
      /1 shard is missing: 2 of 3/,
    );
    await assert.rejects(
      merge(at('merged.parquet'), url('fleet/x.parquet.shard-2-of-3')),
      /no finished shard is there/,
    );
    await assert.rejects(merge(at('merged.parquet'), url('flet/*')), /no finished shard has this name/);
    await shard(2);
    const { text, restore } = reportsOf(sub);
    const again = recordingEncoder();
    await shard(2, {}, again);
    restore();
    assert.match(text(), /shard-2-of-3: is finished already/);
    assert.equal(again.batches.length, 0);
    await assert.rejects(shard(2, { flip: 'mean' }), /exists already/);
    await merge(url('merged/x.parquet'), url('fleet/x.parquet.shard-*-of-3'));
    await asLocal('merged/x.parquet');
    await mergeShardsTo([url('fleet/x.parquet.shard-*-of-3')], at('merged.jsonl'));
    assert.ok(readFileSync(at('merged.jsonl')).equals(readFileSync(at('made/x.jsonl'))));
    await assert.rejects(merge(url('merged/x.parquet'), url('fleet/x.parquet.shard-*-of-3')), /exists already/);
    // local shards, and a mixture
    const localShard = async (images: ImageSet) =>
      await embedShardTo(
        images,
        recordingEncoder().encoder,
        { shard: 1, shards: 3 },
        { ...options, out: at('x.parquet'), force: true },
      );
    const rest = [2, 3].map((i) => url(`fleet/x.parquet.shard-${i}-of-3/`));
    await localShard(local);
    await assert.rejects(
      merge(url('mixed/x.npy'), at('x.parquet.shard-1-of-3'), ...rest),
      /no shards of one list: paths differ/,
    );
    await localShard(remote);
    await merge(url('mixed/x.npy'), at('x.parquet.shard-1-of-3'), ...rest);
    await asLocal('mixed/x.npy');
    await uploadFile(at('notes'), url('fleet/x.parquet.shard-3-of-3/ids.jsonl'), { replace: true, digest: 'other' });
    await assert.rejects(shard(3), /ids\.jsonl: was changed since it was made/);
    await shard(3, { force: true });
    await shard(3);
  });

  await own('a storage that fails leaves nothing; the same command goes on without embedding again', async () => {
    server.fail = (request) => request === `PUT ${BUCKET}/broken/x.npy`;
    await assert.rejects(
      embed(url('broken/x.npy')),
      /broken\/x\.npy: the storage does not answer as it should \(InternalError, 500\)/,
    );
    assert.equal(await headObject(url('broken/x.npy')), null);
    server.fail = () => false;
    const { encoder, batches } = recordingEncoder();
    await embedTo(remote, encoder, { ...options, out: url('broken/x.npy') });
    assert.equal(batches.length, 0);
    await asLocal('broken/x.npy');
    server.fail = (request) => /^PUT .*manifest\.json$/.test(request);
    const shard = () =>
      embedShardTo(remote, encoder, { shard: 1, shards: 2 }, { ...options, out: url('broken/y.npy') });
    await assert.rejects(shard(), /does not answer/);
    await assert.rejects(mergeShardsTo([url('broken/y.npy.shard-*')], at('y.npy')), /no finished shard/);
    server.fail = () => false;
    const embedded = batches.length;
    await shard();
    assert.equal(batches.length, embedded);
  });

  await own(
    'a file that cannot be uploaded, or that another process has written, leaves what stands beside it',
    async () => {
      const out = url('kept/x.npy');
      await embed(out);
      const beside = async () => Promise.all([out, `${out}.json`, url('kept/x.ids.jsonl')].map(async (one) => Buffer.from(await readObject(one)).toString('latin1'))); // biome-ignore format: short
      const before = await beside();
      const fewer = unlabelledImages((await listImages([], { list: at('list') })).slice(4), 'fewer');
      server.fail = (request) => request === `PUT ${BUCKET}/kept/x.npy`;
      await assert.rejects(embed(out, { force: true }, fewer), /does not answer/);
      assert.deepEqual(await beside(), before);
      for (const name of ['ours', 'theirs']) writeFileSync(at(name), name);
      let [isSent, isThere] = [false, false];
      const sendTheirs = async () => {
        isSent = true;
        await uploadFile(at('theirs'), url('kept/y'));
        isThere = true;
      };
      server.fail = (_, query) => {
        if (!query.has('partNumber')) return false;
        if (!isSent) void sendTheirs();
        return !isThere; // our part arrives after theirs
      };
      const beforeLast = async () => assert.fail('what stands beside theirs would be replaced');
      await assert.rejects(
        uploadFile(at('ours'), url('kept/y'), { beforeLast }),
        /another process has written it meanwhile/,
      );
      assert.equal(Buffer.from(await readObject(url('kept/y'))).toString(), 'theirs');
    },
  );

  await own('a killed process goes on where it stopped', async () => {
    const script = resolve(import.meta.dirname, '../../test/helpers/embed-until-killed.js');
    const out = url('killed/x.npy');
    const child = spawn(process.execPath, [script, url('photos/'), out, '2'], { stdio: 'ignore' });
    const signal = await new Promise((done) => child.on('exit', (_, by) => done(by)));
    assert.equal(signal, 'SIGKILL');
    assert.equal(await headObject(out), null);
    const { encoder, batches } = recordingEncoder();
    const set = unlabelledImages(await listImages([url('photos/')]), url('photos/'));
    await embedTo(set, encoder, { ...options, out });
    assert.ok(batches.length > 0 && batches.length <= Math.ceil(IMAGES / 4) - 2, String(batches.length));
    await embedTo(set, recordingEncoder().encoder, { ...options, out: at('whole.npy') });
    assert.ok(Buffer.from(await readObject(out)).equals(readFileSync(at('whole.npy'))));
  });

  await own('absent objects are unreadable images, a storage that fails is none', async () => {
    const list = [...names.slice(0, 6), 'none.pgm'].map((name) => url(`photos/${name}`)).join('\n');
    writeFileSync(at('some'), list);
    const set = unlabelledImages(await listImages([], { list: at('some') }), 'some');
    await assert.rejects(embed(at('some.npy'), {}, set), /1 image is not there:\n {2}s3:\/\/bucket\/photos\/none\.pgm/);
    const info = await embed(at('some.npy'), { skipBadImages: true }, set);
    assert.deepEqual([info.count, info.skipped], [6, 1]);
    assert.match(readFileSync(at('some.npy.skipped.jsonl'), 'utf8'), /none\.pgm.*no such object/);
    server.fail = (request) => request === `GET ${BUCKET}/photos/2/5.pgm`;
    for (const workers of [0, 1])
      await assert.rejects(embed(at('fails.npy'), { skipBadImages: true, workers }, set), /5\.pgm: the storage does not answer/); // biome-ignore format: short
    assert.ok(!existsSync(at('fails.npy')));
  });

  await own('of two that write one object, one is refused; storage without conditions takes both', async () => {
    for (const name of ['a', 'b']) writeFileSync(at(name), name.repeat(10));
    const both = () => Promise.allSettled(['a', 'b'].map((name) => uploadFile(at(name), url('race'))));
    const results = await both();
    assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    const [refused] = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    assert.match(String(refused), /race exists already: another process has written it meanwhile/);
    server.conditional = false;
    await uploadFile(at('a'), url('unconditional'));
    assert.equal((await readObject(url('unconditional'))).length, 10);
    await assert.rejects(uploadFile(at('a'), url('unconditional')), /exists already/);
  });

  await own('a write whose answer is lost is done, if the object there is the one that was written', async () => {
    writeFileSync(at('lost'), 'content');
    const once = (wanted: (request: string, query: URLSearchParams) => boolean) => {
      let left = 1;
      server.lose = (request, query) => wanted(request, query) && left-- > 0;
    };
    const beforeLast = async () => undefined; // in parts
    for (const [name, conditional, options] of [
      ['whole', true, {}],
      ['parts', true, { beforeLast }],
      ['unconditional', false, { beforeLast }], // the upload is no longer open when the last call is repeated
    ] as const) {
      server.conditional = conditional;
      const isLast = (request: string, query: URLSearchParams): boolean =>
        name === 'whole' ? request.startsWith('PUT') : request.startsWith('POST') && query.has('uploadId');
      let calls = 0;
      once((request, query) => isLast(request, query) && ++calls === (conditional ? 1 : 2));
      await uploadFile(at('lost'), url(`lost/${name}`), { ...options, digest: 'ours' });
      assert.equal(Buffer.from(await readObject(url(`lost/${name}`))).toString(), 'content');
    }
    server.conditional = true;
    once((request) => request.startsWith('PUT'));
    await assert.rejects(uploadFile(at('lost'), url('lost/unnamed')), /another process has written it meanwhile/);
  });

  await own('a large file comes in parts, whole or not at all', async () => {
    const content = randomBytes((5 << 20) + 1000);
    writeFileSync(at('large'), content);
    server.fail = (request) =>
      request.startsWith('POST') && server.requests.filter((one) => one.startsWith('POST')).length > 1;
    await assert.rejects(uploadFile(at('large'), url('large'), { partBytes: 5 << 20 }), /does not answer/);
    assert.equal(await headObject(url('large')), null);
    assert.ok(
      server.requests.some((request) => request === `DELETE ${BUCKET}/large`),
      'its parts are removed',
    );
    server.fail = () => false;
    await uploadFile(at('large'), url('large'), { partBytes: 5 << 20 });
    assert.ok(content.equals(await readObject(url('large'))));
  });

  await own('a wrong key, no key, no server and no package are told, without secrets', async (sub) => {
    const command = (env: Readonly<Record<string, string>>, ...nodeOptions: string[]) => mixbct(sub, server, env, nodeOptions, ['features', 'merge', url('fleet/*'), '--out', at('never.npy')]); // biome-ignore format: short
    const secret = 'THE-SECRET';
    for (const [env, message] of [
      [{ AWS_SECRET_ACCESS_KEY: secret }, /the storage refuses access \(SignatureDoesNotMatch\)/],
      [{ AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' }, /no credentials were found/],
      [
        { AWS_ENDPOINT_URL: `http://user:${secret}@127.0.0.1:9` },
        /the storage does not answer as it should \(.*ECONNREFUSED/,
      ],
    ] as const) {
      const { code, text } = await command(env);
      assert.match(text, message);
      assert.equal(code, 2);
      assert.ok(!text.includes(secret), text);
    }
    const hook = `export const resolve = (name, context, next) => {
      if (name === '@aws-sdk/client-s3') throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });
      return next(name, context);
    };`;
    const moduleOf = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;
    const without = moduleOf(`import { register } from 'node:module'; register(${JSON.stringify(moduleOf(hook))});`);
    const { code, text } = await command({}, '--import', without);
    assert.match(
      text,
      /needs the package @aws-sdk\/client-s3, which is not installed\n {2}hint: npm install @aws-sdk\/client-s3/,
    );
    assert.equal(code, 2);
    assert.ok(!existsSync(at('never.npy')));
  });

  await own('nothing that was staged is left', async () => {
    const listed: string[] = [];
    for await (const { url: found } of listObjects(url(''))) listed.push(found);
    assert.ok(listed.length > IMAGES);
    assert.ok(!listed.some((found) => found.includes('S3RVER')));
  });
});

/** The command line in a process of its own, while the server of this one answers. */
function mixbct(
  t: TestContext,
  server: S3Server,
  env: Readonly<Record<string, string>>,
  nodeOptions: readonly string[],
  words: readonly string[],
): Promise<{ readonly code: number | null; readonly text: string }> {
  const main = resolve(import.meta.dirname, '../cli/main.js');
  const home = testFolder(t);
  const child = spawn(process.execPath, [...nodeOptions, main, ...words], {
    env: { ...process.env, ...server.env, HOME: home, MIXBCT_HOME: home, ...env },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => {
    text += chunk;
  }); // biome-ignore format: short
  return new Promise((done) => child.on('exit', (code) => done({ code, text })));
}
