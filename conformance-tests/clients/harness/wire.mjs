// Reads along on a connection: requests one way, answers the other way, without changing a byte.

const HEAD_MAX = 256 * 1024;

/** The first line and the fields of a head; names in lower case, repeated fields joined. */
function parsed(head) {
  const [first, ...lines] = head.split('\r\n');
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return { first, headers };
}

/**
 * One direction of an HTTP/1.1 connection.
 *
 * `onHead(first line, headers)` tells what body follows: `{ length }`, `{ chunked: true }` or
 * `{ untilClose: true }`; `onBody(block, from, to)` is told of each run of body bytes, framing left out, and
 * tells how many of them may pass (it may change them, too); `onEnd()` of a message's end.
 */
export class Reader {
  #events;
  #state = 'head';
  #text = '';
  #left = 0;

  constructor(events) {
    this.#events = events;
  }

  /** Reads on from `at`; returns how many bytes of the block may pass before `onBody` has said halt. */
  feed(block, at = 0) {
    while (at < block.length) {
      const next = this.#step(block, at);
      if (next.halted) return next.at;
      at = next.at;
    }
    return at;
  }

  #step(block, at) {
    if (this.#state === 'body') return this.#body(block, at);
    // Heads, the sizes of chunks and trailers are lines: a byte is a character.
    this.#text += String.fromCharCode(block[at]);
    if (this.#text.length > HEAD_MAX) throw new Error('a head without an end');
    at += 1;
    if (this.#state === 'head' && this.#text.endsWith('\r\n\r\n')) this.#head(this.#taken(4));
    else if (this.#state === 'size' && this.#text.endsWith('\r\n')) this.#size(this.#taken(2));
    else if (this.#state === 'after' && this.#text.endsWith('\r\n')) (this.#taken(2), (this.#state = 'size'));
    else if (this.#state === 'trailer' && this.#text.endsWith('\r\n')) this.#taken(2) === '' && this.#end();
    return { at };
  }

  #taken(ending) {
    const text = this.#text.slice(0, -ending);
    this.#text = '';
    return text;
  }

  #head(text) {
    const { first, headers } = parsed(text);
    const body = this.#events.onHead(first, headers);
    this.chunked = body.chunked === true;
    if (this.chunked) this.#state = 'size';
    else this.#expect(body.untilClose ? Infinity : (body.length ?? 0));
  }

  #size(text) {
    const size = Number.parseInt(text, 16);
    if (Number.isNaN(size)) throw new Error(`no size of a chunk: ${text}`);
    if (size === 0) this.#state = 'trailer';
    else this.#expect(size);
  }

  #expect(bytes) {
    this.#left = bytes;
    if (bytes === 0) this.#end();
    else this.#state = 'body';
  }

  #body(block, at) {
    const to = Math.min(block.length, at + this.#left);
    const passed = this.#events.onBody(block, at, to);
    this.#left -= passed;
    if (this.#left === 0) {
      if (this.chunked) this.#state = 'after';
      else this.#end();
    }
    return { at: at + passed, halted: at + passed < to };
  }

  #end() {
    this.#state = 'head';
    this.#events.onEnd();
  }
}

/** What body a request has. */
export function requestBody(headers) {
  if (/chunked/i.test(headers['transfer-encoding'] ?? '')) return { chunked: true };
  return { length: Number(headers['content-length'] ?? 0) };
}

/** What body the answer to a request has. */
export function answerBody(method, status, headers) {
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { length: 0 };
  if (/chunked/i.test(headers['transfer-encoding'] ?? '')) return { chunked: true };
  if ('content-length' in headers) return { length: Number(headers['content-length']) };
  return { untilClose: true };
}
