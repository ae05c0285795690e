// What a scenario stands on, and what it judges with.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { MIB, digested, randomFile } from './files.mjs';
import { Line } from './line.mjs';
import { Program } from './program.mjs';
import { Server } from './server.mjs';
import { Tail, until } from './waits.mjs';

/** Bytes that may be lost when a client or the line dies, although the server has read them from its socket. */
export const IN_THE_SERVER = MIB;

/** Bytes that, when the server is killed, it may have read and not written. */
export const UNWRITTEN = 4 * MIB;

export class Scene {
  /** What a client says that is no process of the scene's. */
  log = new Tail();
  #programs = [];
  #lines = [];
  #after = [];

  static async open(program) {
    const scene = new Scene();
    scene.program = program;
    scene.folder = await mkdtemp(path.join(tmpdir(), 'piton-clients-'));
    return scene;
  }

  /** Starts the server, and the line to it. */
  async start(...args) {
    this.server = new Server(this.program, path.join(this.folder, 'data'), args);
    await this.server.start();
    this.line = await Line.to(this.server);
    this.#lines.push(this.line);
    return this;
  }

  path(name) {
    return path.join(this.folder, name);
  }

  file(size, name = 'walls and ropes.bin') {
    return randomFile(this.path(name), size);
  }

  run(command, args, env) {
    const program = new Program(command, args, env);
    this.#programs.push(program);
    return program;
  }

  /** What is to be done when the scene closes. */
  after(action) {
    this.#after.push(action);
  }

  /** Kills the server, starts it again. */
  async restart() {
    await this.server.kill();
    await this.server.start();
  }

  /** The finished files are these and no others, on the disk and, where a URL is known, by GET. */
  async arrived(files, url) {
    const wanted = [files].flat().map(({ sha256 }) => sha256).sort();
    const there = await this.server.finished();
    assert.deepEqual(there.map(({ sha256 }) => sha256).sort(), wanted, 'the files on the server\'s disk');
    if (url === undefined) return;
    const answer = await fetch(this.server.at(url), { signal: AbortSignal.timeout(10_000) });
    assert.equal(answer.status, 200, `GET ${url}`);
    assert.equal(await digested(answer.body), wanted[0], `GET ${url}`);
  }

  /** An upload is neither to be seen by HEAD nor has bytes on the disk. */
  async gone(url) {
    const headers = { 'Tus-Resumable': '1.0.0' };
    const answer = await fetch(this.server.at(url), { method: 'HEAD', headers, signal: AbortSignal.timeout(10_000) });
    assert.ok([404, 410].includes(answer.status), `HEAD after DELETE was answered ${answer.status}`);
    await until('the bytes are removed', async () => (await this.server.unfinished()).length === 0);
    assert.deepEqual(await this.server.finished(), []);
  }

  /** The bodies that were passed on make up the file, and no more than `lost` bytes besides. */
  sentOnce(size, lost = 0) {
    const { sent } = this.line;
    assert.ok(sent >= size, `${sent} bytes were sent of ${size}`);
    assert.ok(sent <= size + lost, `${sent - size} bytes were sent twice, ${lost} at most had to be`);
  }

  /** Each PATCH continues where the server said that it stood; one POST made the upload. */
  resumedProperly({ heads = 1, posts = 1 } = {}) {
    assert.equal(this.line.of('POST').length, posts, 'uploads made');
    assert.ok(this.line.of('HEAD').length >= heads, `${this.line.of('HEAD').length} HEADs, ${heads} were expected`);
    let told = 0;
    for (const { method, headers, answer, ...request } of this.line.requests) {
      const patch = (headers['x-http-method-override'] ?? method) === 'PATCH';
      if (patch) assert.equal(Number(headers['upload-offset']), told, `the offset of PATCH ${request.target}`);
      if (answer?.headers['upload-offset']) told = Number(answer.headers['upload-offset']);
    }
  }

  /** No answer was an error. */
  noneRefused() {
    const refused = this.line.requests.filter(({ answer }) => answer?.status >= 400);
    const shown = refused.map(({ method, target, answer }) => `${method} ${target} → ${answer.status}`);
    assert.deepEqual(shown, [], 'refused requests');
  }

  /** What is known when a scenario fails. */
  report() {
    const seen = this.line?.requests.slice(-12).map(({ method, target, headers, body, interim, answer }) => {
      const offset = headers['upload-offset'] === undefined ? '' : ` at ${headers['upload-offset']}`;
      return `${method} ${target}${offset}, ${body} bytes → ${[...interim, answer?.status ?? 'no answer'].join(', ')}`;
    });
    const parts = { 'last requests': seen?.join('\n'), server: this.server?.log.lines(12), page: this.log.lines(15) };
    this.#programs.forEach((program, n) => (parts[`client ${n + 1}`] = program.log.lines(15)));
    const shown = Object.entries(parts).filter(([, text]) => text);
    return shown.map(([name, text]) => `${name}:\n${text.replace(/^/gm, '  | ')}`).join('\n');
  }

  async close() {
    for (const action of this.#after.reverse()) await action();
    for (const program of this.#programs) await program.kill();
    for (const line of this.#lines) line.close();
    await this.server?.kill();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
