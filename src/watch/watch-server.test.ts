import assert from 'node:assert/strict';
import { request } from 'node:http';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeLog } from '../../test/helpers/watched-runs.ts';
import { isLoopback, serveWatch } from './watch-server.ts';

type Reply = { readonly status: number; readonly headers: NodeJS.Dict<string | string[]>; readonly body: string };

/** Asks without the tidying that `fetch` does of addresses. */
const ask = (
  base: string,
  path: string,
  { method = 'GET', host = new URL(base).hostname, headers = {} } = {},
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const { port } = new URL(base);
    const sent = request({ host, port, path, method, headers }, (reply) => {
      let body = '';
      reply.setEncoding('utf8').on('data', (part) => (body += part));
      reply.on('end', () => resolve({ status: reply.statusCode!, headers: reply.headers, body }));
    });
    sent.once('error', reject).end();
  });

test('the page and the data are served, and nothing else, whatever an address says', async (t) => {
  const folder = testFolder(t);
  writeLog(join(folder, 'run'), [1, 2]);
  await using server = await serveWatch([folder], { port: 0 });
  const get = (path: string, options = {}): Promise<Reply> => ask(server.url, path, options);
  const page = await get('/');
  assert.equal(page.status, 200);
  assert.match(page.body, /^<!doctype html>[\s\S]*uPlot[\s\S]*<\/html>\n$/);
  assert.doesNotMatch(page.body, /^(import|export) /m);
  assert.match(String(page.headers['content-security-policy']), /default-src 'none'; script-src 'nonce-/);
  const data = JSON.parse((await get('/data')).body);
  assert.deepEqual([data.runs[0].name, data.runs[0].lines.length], ['run', 2]);
  const { generation } = data.runs[0];
  const seen = encodeURIComponent(JSON.stringify({ 0: { generation, lines: 2, events: 0 } }));
  assert.deepEqual(JSON.parse((await get(`/data?seen=${seen}`)).body).runs[0].lines, []);
  for (const path of ['/run/log.jsonl', '/../../../../etc/passwd', '/..%2f..%2fetc/passwd', '/data/../run/log.jsonl', '//etc/passwd', '/%00', '/data?seen=[', '/data?seen=null', '/data?seen={"0":{}}', '/favicon.ico', `/${'x'.repeat(20_000)}`]) // biome-ignore format: a table
    for (const { status, body } of [await get(path)]) {
      assert.ok([400, 404, 431].includes(status), `${path.slice(0, 40)}: ${status}`);
      assert.doesNotMatch(body, /root:|"step"/, path);
    }
  assert.equal((await get('/', { method: 'POST' })).status, 405);
  const head = await get('/', { method: 'HEAD' });
  assert.deepEqual([head.status, head.body], [200, '']);
});

test('on loopback, a page that another site’s name leads to gets nothing', async (t) => {
  const folder = testFolder(t);
  writeLog(join(folder, 'run'), [1]);
  await using server = await serveWatch([folder], { port: 0 });
  const of = async (host: string): Promise<number> => (await ask(server.url, '/data', { headers: { host } })).status;
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:80', '10.0.0.1'])
    assert.equal(await of(host), 403, host);
  for (const host of ['localhost', 'localhost:7', '127.0.0.1:7', '[::1]:7']) assert.equal(await of(host), 200, host);
  assert.equal(server.token, null);
  assert.ok(!isLoopback('0.0.0.0') && !isLoopback('128.0.0.1') && !isLoopback('127.evil.example'));
});

test('where other machines reach it, a request without the token is refused, from this machine, too', async (t) => {
  const folder = testFolder(t);
  writeLog(join(folder, 'run'), [1]);
  await using server = await serveWatch([folder], { port: 0, host: '0.0.0.0' });
  const { token, url } = server;
  assert.match(token!, /^[0-9a-f]{32}$/);
  assert.ok(url.endsWith(`/?token=${token}`));
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []).filter(({ family }) => family === 'IPv4'); // biome-ignore format: short
  for (const { address } of own) {
    const status = async (path: string): Promise<number> => (await ask(url, path, { host: address })).status;
    for (const path of ['/', '/data', `/?token=${token!.slice(1)}`, `/data?token=${'0'.repeat(32)}`, '/?token='])
      assert.equal(await status(path), 403, `${address}${path}`);
    for (const path of ['/', '/data']) assert.equal(await status(`${path}?token=${token}`), 200, address);
  }
  const another = await serveWatch([folder], { port: 0, host: '0.0.0.0' });
  assert.notEqual(another.token, token);
  await another[Symbol.asyncDispose]();
});

test('a port that is taken and an address that is none of this machine are refused in words', async (t) => {
  const folder = testFolder(t);
  writeLog(join(folder, 'run'), [1]);
  await using server = await serveWatch([folder], { port: 0 });
  const port = Number(new URL(server.url).port);
  await assert.rejects(serveWatch([folder], { port }), /another program listens there\n {2}hint: .*--port/);
  await assert.rejects(serveWatch([folder], { port: 0, host: '192.0.2.1' }), /no such address/);
  await assert.rejects(serveWatch([folder], { port: 0, host: 'no.such.name.invalid' }), /no such address|ENOTFOUND/);
});
