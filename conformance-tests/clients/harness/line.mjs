// The line between a client and the server: a TCP proxy that takes notes, and breaks where it is told to.

import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

import { until } from './waits.mjs';
import { Reader, answerBody, requestBody } from './wire.mjs';

/**
 * `requests` has one entry for each request, in the order of their heads: `method`, `target`, `headers`,
 * `body` (bytes that were passed on, without framing), `ended` (the whole of it was), `left` (its client went
 * away behind it), `interim` (statuses 1xx) and `answer` (`status`, `headers`), once it has come.
 */
export class Line {
  requests = [];
  /** Bytes of all bodies that were passed on to the server. */
  sent = 0;
  #server;
  #listener;
  #pairs = new Set();
  #points = [];
  #damages = [];
  #losses = [];
  #open = true;
  #held;

  static async to(server) {
    const line = new Line();
    line.#server = server;
    line.#listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => line.#accept(client));
    await new Promise((resolve) => line.#listener.listen(0, '127.0.0.1', resolve));
    line.origin = `http://127.0.0.1:${line.#listener.address().port}`;
    line.endpoint = `${line.origin}${server.path}`;
    return line;
  }

  /**
   * When exactly `bytes` of bodies have been passed on and the server has read them, nothing more passes to it
   * before `action` has ended. Resolves, or fails, with it.
   */
  at(bytes, action) {
    return this.rightAt(bytes, async () => {
      await this.#read();
      await action();
    });
  }

  /** The same, while bytes may still stand in the sockets' buffers, megabytes of them. */
  rightAt(bytes, action) {
    return new Promise((resolve, reject) => {
      const run = async () => {
        try {
          resolve(await action());
        } catch (error) {
          reject(error);
        }
      };
      this.#points.push({ bytes, run });
      this.#points.sort((a, b) => a.bytes - b.bytes);
    });
  }

  /** Changes one bit of the body byte with this number, counted over the line's life. */
  damage(byte) {
    this.#damages.push(byte);
  }

  /** Cuts the connection instead of passing on the next answer to a request that `matches`. */
  loseAnswer(matches) {
    return new Promise((resolve) => this.#losses.push({ matches, resolve }));
  }

  /** Cuts all connections: clients are reset, and the server gets what was on its way, then the end. */
  cut() {
    for (const pair of this.#pairs) this.#part(pair);
  }

  /** Takes clients away without a word to the server, to which they look alive. */
  vanish() {
    for (const pair of this.#pairs) {
      pair.mute = true;
      pair.client.resetAndDestroy();
    }
  }

  /** Waits until the last bytes of clients that have gone away are through, and the server knows that it has them. */
  async settled() {
    await until('clients that went away are still heard', () => this.requests.every(({ ended, left }) => ended || left));
    await until('the server keeps connections of clients that went away', () => {
      return [...this.#pairs].every(({ left, mute }) => mute || !left);
    });
  }

  close() {
    this.#open = false;
    this.cut();
    for (const { upstream } of this.#pairs) upstream.destroy();
    this.#listener.close();
  }

  /** The requests with this method, as the server understands it. */
  of(method) {
    return this.requests.filter(({ headers, ...request }) => {
      return (headers['x-http-method-override'] ?? request.method) === method;
    });
  }

  #accept(client) {
    client.on('error', () => {});
    if (!this.#open) return client.resetAndDestroy();
    const upstream = net.connect({ port: this.#server.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    upstream.on('error', () => {});
    const pair = { client, upstream, waiting: [] };
    this.#pairs.add(pair);
    upstream.once('close', () => {
      this.#pairs.delete(pair);
      if (upstream.errored) client.resetAndDestroy();
    });
    this.#up(pair).catch(() => this.#part(pair));
    this.#down(pair).catch(() => this.#part(pair));
  }

  /** Waits until nothing stands in the buffers between the line and the server; a while, where nobody tells. */
  async #read() {
    for (let tries = 0; tries < 1000; tries += 1) {
      const bytes = await standing(this.#server.port);
      if (bytes === 0 || (bytes === undefined && tries === 100)) return;
      await wait(20);
    }
    throw new Error('the server does not read what was sent to it');
  }

  #part(pair) {
    pair.client.resetAndDestroy();
    if (!pair.mute) pair.upstream.end();
  }

  async #up(pair) {
    let request;
    const reader = new Reader({
      onHead: (first, headers) => {
        const [method, target] = first.split(' ');
        request = { method, target, headers, body: 0, ended: false, interim: [] };
        this.requests.push(request);
        pair.waiting.push(request);
        return requestBody(headers);
      },
      onBody: (block, from, to) => {
        const passed = this.#passing(block, from, to);
        request.body += passed;
        return passed;
      },
      onEnd: () => (request.ended = true),
    });
    try {
      for await (const block of pair.client.iterator({ destroyOnReturn: false })) {
        for (let at = 0; at < block.length; ) {
          await this.#held;
          if (pair.client.destroyed || !pair.upstream.writable) return this.#part(pair);
          const to = reader.feed(block, at);
          if (!pair.upstream.write(block.subarray(at, to))) await drained(pair.upstream);
          at = to;
          while (this.#points[0]?.bytes <= this.sent) await (this.#held = this.#points.shift().run());
        }
      }
    } finally {
      pair.left = true;
      if (request) request.left = true;
    }
    if (!pair.mute) pair.upstream.end();
  }

  /** How many of the bytes may pass before the next point, with those changed that are to be damaged. */
  #passing(block, from, to) {
    const point = this.#points[0]?.bytes ?? Infinity;
    const passed = Math.min(to - from, Math.max(0, point - this.sent));
    const hit = this.#damages.findIndex((byte) => byte >= this.sent && byte < this.sent + passed);
    if (hit >= 0) block[from + this.#damages.splice(hit, 1)[0] - this.sent] ^= 1;
    this.sent += passed;
    return passed;
  }

  async #down(pair) {
    const reader = new Reader({
      onHead: (first, headers) => {
        const status = Number(first.split(' ')[1]);
        const request = pair.waiting[0] ?? {};
        pair.answering = status < 200 ? undefined : request;
        if (status < 200) request.interim?.push(status);
        else request.answer = { status, headers };
        return answerBody(request.method, status, headers);
      },
      onBody: (block, from, to) => to - from,
      onEnd: () => pair.answering && pair.waiting.shift(),
    });
    for await (const block of pair.upstream.iterator({ destroyOnReturn: false })) {
      const before = pair.waiting.slice();
      reader.feed(block);
      const lost = before.find((request) => request.answer && this.#lost(request));
      if (lost) return this.#part(pair);
      if (!pair.client.destroyed && !pair.client.write(block)) await drained(pair.client);
    }
    pair.client.end();
  }

  #lost(request) {
    const loss = this.#losses.findIndex(({ matches }) => matches(request));
    if (loss < 0) return false;
    this.#losses.splice(loss, 1)[0].resolve(request);
    return true;
  }
}

/** Bytes in the buffers of connections to this port; `undefined` on systems that do not tell. */
async function standing(port) {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const table = await readFile('/proc/net/tcp', 'utf8').catch(() => undefined);
  if (table === undefined) return undefined;
  let bytes = 0;
  for (const line of table.split('\n').slice(1)) {
    const [, local, remote, , queues] = line.trim().split(/\s+/);
    const ours = [local, remote].some((address) => address?.endsWith(`:${wanted}`));
    if (ours) bytes += queues.split(':').reduce((sum, size) => sum + Number.parseInt(size, 16), 0);
  }
  return bytes;
}

function drained(socket) {
  if (socket.destroyed) return undefined;
  return new Promise((resolve) => {
    const go = () => {
      socket.off('drain', go);
      socket.off('close', go);
      resolve();
    };
    socket.on('drain', go);
    socket.on('close', go);
  });
}
