// Chromium, and the page that it visits: of an origin that is not the server's.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';

const LONG = { timeout: 20_000 };
const STATUS = '.uppy-StatusBar';

let running;

async function browser(program) {
  // Only here, for whoever lists the scenarios need not have installed it.
  const { chromium } = await import('playwright-core');
  running ??= await chromium.launch({ executablePath: program, args: ['--no-sandbox'], timeout: 20_000 });
  return running;
}

export async function closeBrowser() {
  await running?.close();
  running = undefined;
}

/** Serves the page, Uppy and its styles. */
async function pages({ here, folder }) {
  const packages = path.join(here, 'node_modules/@uppy');
  const files = {
    '/': [path.join(here, 'page.html'), 'text/html; charset=utf-8'],
    '/uppy.mjs': [path.join(folder, 'uppy.mjs'), 'text/javascript'],
    '/core.css': [path.join(packages, 'core/dist/style.min.css'), 'text/css'],
    '/dashboard.css': [path.join(packages, 'dashboard/dist/style.min.css'), 'text/css'],
  };
  const server = http.createServer(async (request, response) => {
    const [file, type] = files[new URL(request.url, 'http://localhost').pathname] ?? [];
    if (file === undefined) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': type }).end(await readFile(file));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** A visit of the page, with what a person can do there. */
export class Visit {
  static async of(scene, options = {}) {
    const visit = new Visit();
    const server = await pages(scene.client);
    scene.after(() => (server.closeAllConnections(), server.close()));
    visit.origin = `http://localhost:${server.address().port}`;
    const context = await (await browser(scene.client.chromium)).newContext();
    scene.after(() => context.close());
    visit.page = await context.newPage();
    visit.page.setDefaultTimeout(LONG.timeout);
    visit.page.on('console', (message) => scene.log.add(`${message.text()}\n`));
    visit.page.on('pageerror', (error) => scene.log.add(`${error}\n`));
    const tus = { endpoint: scene.line.endpoint, retryDelays: [0, 100, 300, 1000, 2000, 4000], ...options };
    await visit.page.goto(`${visit.origin}/?tus=${encodeURIComponent(JSON.stringify(tus))}`);
    await visit.page.waitForFunction(() => window.uppy);
    return visit;
  }

  /** Chooses files, and begins. */
  async upload(...files) {
    await this.page.locator('.uppy-Dashboard-input').first().setInputFiles(files.map((file) => file.path));
    await this.page.click('.uppy-StatusBar-actionBtn--upload');
  }

  /** Waits for the word of success; returns the URLs of the uploads. */
  async complete() {
    await this.page.waitForSelector(`${STATUS}.is-complete`);
    return this.page.evaluate(() => window.urls);
  }

  /** Waits for the word of failure; returns what is said of the files. */
  async failed() {
    await this.page.waitForSelector(`${STATUS}.is-error`);
    return this.page.evaluate(() => window.uppy.getFiles().map(({ error }) => error));
  }

  /** Clicks the button in the bar: pause or resume are one. */
  toggle() {
    return this.page.click('[data-cy=togglePauseResume]');
  }

  cancel() {
    return this.page.click('[data-cy=cancel]');
  }

  retry() {
    return this.page.click('[data-cy=retry]');
  }

  async reload() {
    await this.page.reload();
    await this.page.waitForFunction(() => window.uppy);
  }
}
