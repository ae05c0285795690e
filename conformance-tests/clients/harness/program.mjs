// A client as a process of its own, which says in lines of JSON how it goes.

import { spawn } from 'node:child_process';

import { Tail, within } from './waits.mjs';

const LONGEST = 45_000;

export class Program {
  log = new Tail();
  /** What it said, line by line. */
  said = [];
  #rest = '';

  constructor(command, args, env = {}) {
    this.child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => resolve({ code, signal }));
    });
    this.ended.catch(() => {});
    this.child.stderr.setEncoding('utf8').on('data', (text) => this.log.add(text));
    this.child.stdout.setEncoding('utf8').on('data', (text) => this.#hear(text));
  }

  #hear(text) {
    this.log.add(text);
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('{')) this.said.push(JSON.parse(line));
    }
  }

  /** Waits until it has ended well; returns what it said last. */
  async done() {
    const { code, signal } = await within(LONGEST, this.ended, 'the client does not end');
    if (code !== 0) throw new Error(`the client ended with ${signal ?? code}`);
    return this.said.at(-1) ?? {};
  }

  /** Waits until it has ended with exit code 1, as it does when an upload fails; returns what it said last. */
  async failed() {
    const { code, signal } = await within(LONGEST, this.ended, 'the client does not end');
    if (code !== 1) throw new Error(`the client ended with ${signal ?? code}, not with the code 1`);
    return this.said.at(-1) ?? {};
  }

  /** Kills it without a chance to tidy up. */
  async kill() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    if (this.child.pid) await within(5_000, this.ended, 'the client cannot be killed');
  }
}
