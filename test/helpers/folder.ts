import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';

/** A folder of its own for one test, removed after it. */
export function testFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder of its own for all tests of a file, removed after them. */
export function suiteFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-test-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
