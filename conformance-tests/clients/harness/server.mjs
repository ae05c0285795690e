// The server under test: started, stopped, killed and started again on its data folder.

import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';

import { sha256 } from './files.mjs';
import { Tail, within } from './waits.mjs';

export class Server {
  log = new Tail();

  /** `PROGRAM --listen 127.0.0.1:0 --data-dir DIR …` says in its first line where it listens. */
  constructor(program, data, args) {
    this.program = program;
    this.data = data;
    this.args = args;
  }

  async start() {
    const args = ['--listen', '127.0.0.1:0', '--data-dir', this.data, ...this.args];
    this.child = spawn(this.program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdout.setEncoding('utf8').on('data', (text) => this.log.add(text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => this.log.add(text));
    const ready = new Promise((resolve, reject) => {
      let said = '';
      this.child.once('error', reject);
      this.child.once('exit', () => reject(new Error(`the server ended before it listened\n${this.log}`)));
      this.child.stdout.on('data', (text) => {
        said += text;
        const found = /http:\/\/127\.0\.0\.1:(\d+)(\/\S*)?/.exec(said);
        if (found && said.includes('\n', found.index)) resolve(found);
      });
    });
    const [, port, path] = await within(10_000, ready, 'the server does not listen');
    this.port = Number(port);
    this.path = path ?? '/files/';
    return this;
  }

  /** Kills it as a power switch would, only that the page cache stays. */
  kill() {
    return this.#end('SIGKILL');
  }

  /** Asks it to stop. */
  stop() {
    return this.#end('SIGTERM');
  }

  async #end(signal) {
    if (this.child?.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    if (this.child?.pid) await within(15_000, this.ended, `the server does not end after ${signal}`);
  }

  /** Names and digests of the finished files. */
  async finished() {
    const below = path.join(this.data, 'files');
    const names = (await readdir(below).catch(() => [])).sort();
    return Promise.all(names.map(async (name) => ({ name, sha256: await sha256(path.join(below, name)) })));
  }

  /** The folders of uploads that hold bytes. */
  async unfinished() {
    return readdir(path.join(this.data, 'uploads')).catch(() => []);
  }

  /** The same resource, asked without the line between. */
  at(url) {
    return `http://127.0.0.1:${this.port}${new URL(url).pathname}`;
  }
}
