// Strangers that connect to every port of a training by several processes: it ends with the bytes of one that none came to.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../test/helpers/processes.ts';
import { listeners, pester } from '../../test/helpers/sockets.ts';
import { attempt, removeOutput, start, wrongEnd } from './attempts.ts';

/** It meets at a port, so that there is one more to come to. */
const training = async (out: string): Promise<string[]> => [
  ...['launch', '--nproc', '2', '--master-port', `${await freePort()}`, '--'],
  ...['train', 'recipe.json', '--data', 'set', '--out', out],
  ...['--threads', '1', '--workers', '1', '--set', 'epochs=12'],
];

/** A process and all that it started. */
function family(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    return [pid, ...children.flatMap((child) => family(Number(child)))];
  } catch {
    return []; // it has ended
  }
}

function portsOf(pid: number): number[] {
  try {
    return listeners(pid).map(({ port }) => port);
  } catch {
    return [];
  }
}

/** Sends `each` strangers to each port. → how many came to how many ports, and what was lost */
export async function pestered(
  folder: string,
  each: number,
): Promise<{ readonly came: number; readonly ports: number; readonly lost: string[] }> {
  const lost = wrongEnd(await attempt(folder, await training('alone')), [0]);
  const running = start(folder, await training('pestered'));
  const came = new Map<number, number>();
  let ended = false;
  void running.ended.then(() => {
    ended = true;
  });
  while (!ended) {
    const ports = family(running.child.pid!).flatMap(portsOf);
    const next = ports.filter((port) => (came.get(port) ?? 0) < each);
    for (const port of next) {
      const i = came.get(port) ?? 0;
      came.set(port, i + 1);
      await pester(port, i);
    }
    await new Promise((done) => setTimeout(done, next.length > 0 ? 0 : 20));
  }
  lost.push(...wrongEnd(await running.ended, [0]));
  const weights = (out: string): Buffer | null => {
    try {
      return readFileSync(join(folder, out, 'model.safetensors'));
    } catch {
      return null;
    }
  };
  const [alone, other] = [weights('alone'), weights('pestered')];
  if (!alone || !other || !alone.equals(other)) lost.push('the model of the training that strangers came to differs');
  for (const out of ['alone', 'pestered']) removeOutput(folder, out);
  return { came: [...came.values()].reduce((sum, n) => sum + n, 0), ports: came.size, lost };
}
