import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, type TestContext } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';

/** Debian's browser, unless the environment names another. */
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
/** For a machine that does many other things. */
const PATIENCE_MS = 120_000;

/** The browser of all tests of a file. */
let opened: Promise<Browser> | undefined;
after(async () => (await opened)?.close());

/** A browser for a test; null, and the test is skipped, where there is none. */
export async function openBrowser(t: TestContext): Promise<Browser | null> {
  if (!existsSync(CHROMIUM)) {
    t.skip(`no browser at ${CHROMIUM}: apt-get install chromium`);
    return null;
  }
  opened ??= chromium.launch({
    executablePath: CHROMIUM,
    timeout: PATIENCE_MS,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
  return await opened;
}

export type OpenedPage = {
  readonly page: Page;
  /** Errors of the console and of scripts, as they come. */
  readonly errors: string[];
  /** Addresses that it has asked for. */
  readonly requests: string[];
};

/** Opens a page in a window of its own. */
export async function openPage(
  browser: Browser,
  url: string,
  { width = 1280, height = 900, dark = false } = {},
): Promise<OpenedPage> {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
  page.setDefaultTimeout(PATIENCE_MS);
  const [errors, requests]: [string[], string[]] = [[], []];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(url);
  return { page, errors, requests };
}

/** What axe-core finds that keeps people from using a page: `rule: selectors`. Its script is run past the page's own policy. */
export async function seriousViolations(page: Page): Promise<string[]> {
  const axe = createRequire(import.meta.url)('axe-core') as { readonly source: string };
  await page.evaluate(axe.source);
  const found = (await page.evaluate('axe.run()')) as {
    readonly violations: readonly { id: string; impact: string | null; nodes: { target: string[] }[] }[];
  };
  return found.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
}
