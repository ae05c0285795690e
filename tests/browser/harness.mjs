// What the tests of the page stand on: a real piton, a real Chromium, files, and a line that damages.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';

import { chromium } from 'playwright-core';

const PITON = process.env.PITON ?? path.resolve(import.meta.dirname, '../../target/debug/piton');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

export const MIB = 1 << 20;

/** A folder that goes with the test. */
export async function folder(t) {
  const made = await mkdtemp(path.join(process.env.PITON_TEST_DIR ?? tmpdir(), 'piton-page-'));
  t.after(() => rm(made, { recursive: true, force: true, maxRetries: 5 }));
  return made;
}

/** piton on a data folder of its own, which goes with the test. */
export class Server {
  static async start(t, ...args) {
    const server = new Server();
    server.args = args;
    server.data = await folder(t);
    t.after(() => server.kill9());
    await server.run(0);
    return server;
  }

  /** Starts it; on the port that it had, if it had one. */
  async run(port = this.port) {
    const args = [`--listen=127.0.0.1:${port}`, `--data-dir=${this.data}/data`, '--log-level=error'];
    this.child = spawn(PITON, [...args, ...this.args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = readline.createInterface({ input: this.child.stdout });
    for await (const line of lines) {
      this.port = Number(/:(\d+)\/?$/.exec(line)[1]);
      this.url = `http://127.0.0.1:${this.port}/`;
      return;
    }
    throw new Error('piton ended before it listened');
  }

  async kill9() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }

  /** The SHA-256 of each finished file. */
  async finished() {
    const below = path.join(this.data, 'data/files');
    const names = (await readdir(below)).sort();
    return Promise.all(names.map((name) => sha256(path.join(below, name))));
  }

  /** What the server says of an upload. */
  async status(hash, filename) {
    const query = new URLSearchParams({ hash, filename });
    return (await fetch(`${this.url}upload/status?${query}`)).json();
  }
}

let running;

/** A page of a browser profile of its own, and whatever it asked the server for. */
export async function visit(t, url, { width = 1000, height = 800, ...options } = {}) {
  running ??= await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--host-resolver-rules=MAP piton.test 127.0.0.1'],
  });
  const context = await running.newContext({ viewport: { width, height }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.asked = [];
  page.wrong = [];
  page.on('request', (request) => page.asked.push(request));
  page.on('pageerror', (error) => page.wrong.push(String(error)));
  page.on('console', (message) => {
    const about = message.text();
    if (message.type() === 'error' && !about.startsWith('Failed to load resource')) page.wrong.push(about);
  });
  page.on('dialog', (dialog) => dialog.accept());
  await page.goto(url);
  return page;
}

export async function closeBrowser() {
  await running?.close();
  running = undefined;
}

/** Limits what the page can send, in bytes per second, or takes the network away. */
export async function network(page, { offline = false, uploadThroughput = -1 } = {}) {
  page.session ??= await page.context().newCDPSession(page);
  await page.session.send('Network.enable', { maxPostDataSize: 0 });
  const all = { offline, latency: 0, downloadThroughput: -1, uploadThroughput };
  await page.session.send('Network.emulateNetworkConditions', all);
}

/** Bytes per second that the page can send, for a test that has to meet it in the middle. */
export const slow = (page, bytesPerSecond) => network(page, { uploadThroughput: bytesPerSecond });

/** The numbers of the chunks that were sent, in the order in which they were. */
export function sentChunks(page) {
  const puts = page.asked.filter((request) => request.method() === 'PUT');
  return puts.map((request) => Number(new URL(request.url()).searchParams.get('index')));
}

/** A file of random bytes and its SHA-256. */
export async function file(t, bytes, name = 'walls and ropes.bin') {
  const made = path.join(await folder(t), name);
  const handle = await open(made, 'w');
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; ) {
    const block = Buffer.alloc(Math.min(left, MIB));
    crypto.getRandomValues(new Uint8Array(block.buffer, block.byteOffset, Math.min(block.length, 65536)));
    for (let at = 65536; at < block.length; at += 4) block.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, at);
    hash.update(block);
    await handle.write(block);
    left -= block.length;
  }
  await handle.close();
  return { path: made, sha256: hash.digest('hex') };
}

export async function sha256(at) {
  const hash = createHash('sha256');
  for await (const block of createReadStream(at)) hash.update(block);
  return hash.digest('hex');
}

/** A proxy that changes one byte in the body of the first `PUT` whose query has `index=N`. */
export async function damaging(t, server, index) {
  const damage = { done: 0 };
  const proxy = http.createServer((request, response) => {
    const there = { host: '127.0.0.1', port: server.port, path: request.url, method: request.method };
    const onward = http.request({ ...there, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    const query = new URL(request.url, 'http://x').searchParams;
    const hit = request.method === 'PUT' && query.get('index') === String(index) && damage.done === 0;
    if (hit) damage.done += 1;
    let first = hit;
    request.on('data', (block) => {
      if (first) block[0] ^= 1;
      first = false;
      if (!onward.write(block)) (request.pause(), onward.once('drain', () => request.resume()));
    });
    request.on('end', () => onward.end());
    request.on('error', () => onward.destroy());
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => (proxy.closeAllConnections(), proxy.close()));
  return { url: `http://127.0.0.1:${proxy.address().port}/`, damage };
}
