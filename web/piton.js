// Resumable uploads for browsers: numbered chunks, or tus 1.0.0 where a server has only that.
// One ES module without dependencies; types in piton.d.ts. It is its own Worker, in which chunks are read and hashed.

export const Chunk = Object.freeze({ MISSING: 0, SENDING: 1, STORED: 2, JOINED: 3 });

const MIB = 1 << 20;
const CHUNKS_MAX = 10_000;
const NAME_BYTES_MAX = 255;
const PASSING = new Set([0, 408, 423, 425, 429, 500, 502, 503, 504, 507]);
const TUS = { 'Tus-Resumable': '1.0.0' };
const DEFAULTS = {
  endpoint: new URL('.', import.meta.url).href, // the server that this module came from
  tusPath: 'files/',
  protocol: 'auto', // 'chunks', 'tus', or whichever the server has
  parallel: 6, // most chunks on the way
  chunkSize: 8 * MIB, // more where it would be above 10,000 chunks
  retries: 30, // failures in a row of one request
  delay: 500, // ms before the second attempt, twice as long before each further one …
  delayMax: 15_000, // … up to this
  stall: 90_000, // ms without a byte until a request is given up and sent again
  headers: {},
  credentials: false,
};

/** Why an upload failed: `type` is the word of the problem, `status` that of HTTP (0: no answer). */
export class UploadError extends Error {
  constructor(type, message, status = 0) {
    super(message);
    Object.assign(this, { name: 'UploadError', type, status });
  }
}

/** A number of places; uploads that share one share the places, in the order in which they asked. */
export class Slots {
  #waiting = [];
  #free;
  constructor(count) {
    this.#free = count;
  }
  async take(signal) {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((resolve) => this.#waiting.push(resolve));
    if (signal?.aborted) (this.give(), signal.throwIfAborted());
  }
  give() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}

/** One file on its way. Events: `state` at once, `change` at most ten times a second. */
export class Upload extends EventTarget {
  state = 'idle'; // checking, sending, finishing, done, paused, failed, cancelled
  trouble = null; // 'offline', 'network' or 'server' while requests are sent again
  error = null;
  result = null;
  hash = null; // what the upload is called: the same for the same file, after a reload too
  resent = 0; // chunks that arrived damaged and were sent again
  chunks = new Uint8Array(0); // what has become of each, as in Chunk
  chunkSize = 0;
  #options;
  #slots;
  #stop = new AbortController();
  #running = null;
  #digests = [];
  #lanes = 2; // chunks on the way now
  #loaded = new Map(); // chunk → bytes of it that have left
  #stored = 0;
  #wire = 0;
  #samples = [];
  #timer = 0;
  #tusUrl = null;

  constructor(file, options = {}) {
    super();
    this.#options = { ...DEFAULTS, ...options };
    this.#slots = options.slots ?? new Slots(this.#options.parallel);
    this.file = file;
    this.name = shortened(options.name ?? file.name ?? 'file');
    this.size = file.size;
    this.#cut(Math.max(this.#options.chunkSize, Math.ceil(file.size / CHUNKS_MAX / MIB) * MIB));
  }

  /** Bytes that are there or have left. */
  get sent() {
    let sent = this.#stored;
    for (const bytes of this.#loaded.values()) sent += bytes;
    return Math.min(sent, this.size);
  }

  /** Bytes per second over the last seconds, or null. */
  get rate() {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    const span = this.state === 'sending' && last ? last.at - first.at : 0;
    return span > 400 ? ((last.wire - first.wire) * 1000) / span : null;
  }

  /** Seconds to go, or null. */
  get remaining() {
    return this.rate ? (this.size - this.sent) / this.rate : null;
  }

  /** Begins or goes on. Gives the result, null once it is paused or cancelled; throws an UploadError. */
  start() {
    if (!['idle', 'paused', 'failed'].includes(this.state)) return this.#running;
    this.#stop = new AbortController();
    Object.assign(this, { error: null, trouble: null });
    this.#become('checking');
    const [before, { signal }] = [this.#running, this.#stop];
    return (this.#running = Promise.allSettled([before]).then(() => this.#run(signal)));
  }

  pause() {
    if (['checking', 'sending', 'finishing'].includes(this.state)) this.#halt('paused');
  }

  /** Ends it, and removes what the server has of it, unless the file is finished. */
  async cancel() {
    if (['done', 'cancelled'].includes(this.state)) return;
    this.#halt('cancelled');
    await Promise.allSettled([this.#running]);
    if (this.hash) await this.#forget(AbortSignal.timeout(30_000)).catch(() => {});
  }

  #halt(state) {
    this.#loaded.clear();
    this.chunks.forEach((state, index) => state === Chunk.SENDING && (this.chunks[index] = Chunk.MISSING));
    this.#become(state);
    this.#stop.abort();
  }

  async #run(signal) {
    try {
      this.hash ??= await fingerprint(this.file, this.name);
      const status = this.#options.protocol === 'tus' ? null : await this.#status(signal);
      const result = await (status ? this.#sendChunks(status, signal) : this.#sendTus(signal));
      this.chunks.fill(Chunk.JOINED);
      this.#stored = this.size;
      this.result = result;
      this.#become('done');
      return result;
    } catch (error) {
      if (signal.aborted) return null;
      this.error = error instanceof UploadError ? error : new UploadError('unreadable', String(error?.message ?? error));
      this.#halt('failed');
      throw this.error;
    }
  }

  // Numbered chunks: status → compare what is there → send what is missing → merge.

  /** null where the server does not know this protocol. */
  async #status(signal) {
    const answer = await this.#ask('GET', this.#at('upload/status', this.#named()), { signal });
    if (answer.status === 200 && answer.json?.state) return answer.json;
    if (this.#options.protocol === 'auto' && [null, 'not-found'].includes(answer.type)) return null;
    throw refusal(answer);
  }

  async #sendChunks(status, signal) {
    if (status.state === 'failed') await this.#forget(signal);
    const same = status.chunk_size === this.chunkSize && status.total === this.chunks.length;
    if (status.chunk_size && status.total && !same) this.#cut(status.chunk_size, status.total);
    const all = status.state === 'merged' ? [...this.chunks.keys()] : (status.uploaded ?? []);
    const there = status.state === 'failed' ? [] : all;
    this.#reached(0);
    for (const index of there) this.#mark(index, Chunk.STORED);
    await this.#each(there, signal, (index) => this.#compare(index, signal));
    for (let round = 0; ; round += 1) {
      this.#become('sending');
      const missing = [...this.chunks.keys()].filter((index) => this.chunks[index] === Chunk.MISSING);
      await this.#each(missing, signal, (index) => this.#send(index, signal));
      this.#become('finishing');
      const result = await this.#merge(signal, round);
      if (result) return result;
    }
  }

  /** Several at once: as many as keep a chunk short, so that little is lost when the line breaks. */
  async #each(indexes, signal, work) {
    const running = new Set();
    for (const index of indexes) {
      while (running.size >= this.#lanes) await Promise.race(running);
      await this.#slots.take(signal);
      const job = work(index).finally(() => (this.#slots.give(), running.delete(job)));
      job.catch(() => {}); // told by race or all
      running.add(job);
    }
    await Promise.all(running);
  }

  /** What the server has under this number has to be what the file has there. */
  async #compare(index, signal) {
    if (this.#digests[index]) return;
    const digest = await hasher.digest(this.#piece(index));
    const asked = { ...this.#named(), index, sha256: hex(digest) };
    const answer = await this.#ask('GET', this.#at('upload/check', asked), { signal });
    if (answer.status !== 200) throw refusal(answer);
    const { exists, size, sha256 } = answer.json ?? {};
    // A server that takes no digests has nothing to compare.
    if (exists || (size !== null && sha256 === null)) this.#digests[index] = digest;
    else this.#mark(index, Chunk.MISSING);
  }

  async #send(index, signal) {
    this.#mark(index, Chunk.SENDING);
    for (let refused = 0; ; refused += 1) {
      const body = this.#piece(index);
      const digest = await hasher.digest(body);
      const { size, chunkSize, chunks } = this;
      const asked = { ...this.#named(), index, total: chunks.length, size, chunk_size: chunkSize, sha256: hex(digest) };
      const headers = { 'Content-Type': 'application/octet-stream' };
      const since = performance.now();
      const answer = await this.#ask('PUT', this.#at('upload', asked), { signal, headers, body, index });
      if (answer.ok) {
        const took = performance.now() - since;
        if (took < 1500) this.#lanes = Math.min(this.#lanes + 1, this.#options.parallel);
        if (took > 6000) this.#lanes = Math.max(this.#lanes - 1, 1);
        this.#digests[index] = digest;
        return this.#mark(index, Chunk.STORED);
      }
      if (answer.type !== 'digest-mismatch' || refused >= 5) throw refusal(answer);
      this.resent += 1; // damaged on its way, so once more
    }
  }

  /** null where chunks turn out to be missing: they are marked so. */
  async #merge(signal, round) {
    const digests = Array.from(this.chunks, (_, index) => this.#digests[index]);
    const composite = hex(await sha256(await new Blob(digests).arrayBuffer()));
    const whole = { ...this.#named(), total: this.chunks.length, size: this.size };
    let proof = { digest: composite, digest_format: 'raw', chunks: digests.map(hex) };
    for (;;) {
      const body = JSON.stringify({ ...whole, ...proof });
      const headers = { 'Content-Type': 'application/json' };
      const answer = await this.#ask('POST', this.#at('merge'), { signal, headers, body });
      const { url, filename, size, composite_sha256: digest, actual, missing, bad_chunks: bad } = answer.json ?? {};
      if (answer.status === 202) await this.#merged(answer, signal);
      else if (answer.ok) {
        const there = new URL(url, this.#options.endpoint).href;
        return { url: there, filename, size, digest, verified: digest === composite, protocol: 'chunks' };
      } else if (answer.type === 'composite-mismatch' && actual === null && proof.digest) proof = {};
      else {
        const lost = { 'chunks-missing': missing, 'composite-mismatch': bad, 'unknown-upload': 'all', gone: 'all' }[answer.type];
        if (!lost || round >= 4) throw refusal(answer);
        const again = Array.isArray(lost) && lost.length > 0 ? lost : [...this.chunks.keys()];
        for (const index of again) this.#mark(index, Chunk.MISSING);
        return null;
      }
    }
  }

  /** Waits for a merge that goes on behind. */
  async #merged(answer, signal) {
    do {
      await sleep(answer.retryAfter ?? 1000, signal);
      answer = await this.#ask('GET', this.#at('upload/status', { ...this.#named(), format: 'ranges' }), { signal });
    } while (answer.json?.state === 'merging');
  }

  async #forget(signal) {
    if (this.#tusUrl) return this.#ask('DELETE', this.#tusUrl, { signal, headers: TUS });
    const { json } = await this.#ask('GET', this.#at('upload/status', this.#named()), { signal });
    if (!['merging', 'merged'].includes(json?.state)) await this.#ask('DELETE', this.#at('upload', this.#named()), { signal });
  }

  // tus 1.0.0: one piece after the other, from the offset that the server has.

  async #sendTus(signal) {
    const base = this.#at(this.#options.tusPath);
    const offer = await this.#ask('OPTIONS', base, { signal });
    const sums = offer.header('Tus-Checksum-Algorithm')?.split(',').some((name) => name.trim() === 'sha256');
    const key = `piton:tus:${base}:${this.hash}`;
    this.#tusUrl = remember(key);
    let offset = this.#tusUrl ? await this.#tusOffset(signal) : null;
    const verified = Boolean(sums) && offset === null; // of what came before, nothing is known
    for (let refused = 0; offset === null || offset < this.size; ) {
      if (offset === null) {
        offset = await this.#tusCreate(base, key, signal);
        continue;
      }
      this.#reached(offset);
      this.#become('sending');
      const index = Math.min(Math.floor(offset / this.chunkSize), this.chunks.length - 1);
      await this.#slots.take(signal);
      const answer = await this.#tusPatch(index, offset, sums, signal).finally(() => this.#slots.give());
      if (answer.ok || answer.status === 409) {
        const next = (answer.ok && Number(answer.header('Upload-Offset'))) || (await this.#tusOffset(signal));
        if (!(next > offset) && (refused += 1) > 5) throw refusal(answer);
        offset = next;
      } else if ([403, 404, 410].includes(answer.status) && refused++ < 3) offset = null;
      else if (answer.status === 460 && refused++ < 5) this.resent += 1;
      else throw refusal(answer);
    }
    remember(key, null);
    return { url: this.#tusUrl, filename: this.name, size: this.size, digest: null, verified, protocol: 'tus' };
  }

  /** null where the upload is gone. */
  async #tusOffset(signal) {
    const answer = await this.#ask('HEAD', this.#tusUrl, { signal, headers: TUS });
    const offset = answer.header('Upload-Offset');
    return answer.ok && /^\d+$/.test(offset ?? '') ? Number(offset) : null;
  }

  async #tusCreate(base, key, signal) {
    const pairs = { filename: this.name, ...(this.file.type && { filetype: this.file.type }) };
    const metadata = Object.entries(pairs).map(([name, value]) => `${name} ${base64(new TextEncoder().encode(value))}`);
    const headers = { ...TUS, 'Upload-Length': this.size, 'Upload-Metadata': metadata.join(',') };
    const answer = await this.#ask('POST', base, { signal, headers });
    if (answer.status !== 201 || !answer.header('Location')) throw refusal(answer);
    this.#tusUrl = new URL(answer.header('Location'), base).href;
    remember(key, this.#tusUrl);
    return 0;
  }

  async #tusPatch(index, offset, sums, signal) {
    const body = this.file.slice(offset, Math.min((index + 1) * this.chunkSize, this.size));
    const headers = { ...TUS, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': offset };
    if (sums) headers['Upload-Checksum'] = `sha256 ${base64(await hasher.digest(body))}`;
    this.#mark(index, Chunk.SENDING);
    return this.#ask('PATCH', this.#tusUrl, { signal, headers, body, index });
  }

  #reached(offset) {
    this.chunks.fill(Chunk.MISSING).fill(Chunk.STORED, 0, Math.floor(offset / this.chunkSize));
    this.#stored = offset;
    this.#changed();
  }

  // What both have in common.

  /** One request, sent again until it gets an answer that is more than passing trouble. */
  async #ask(method, url, { signal, index, headers = {}, ...rest }) {
    for (let failures = 0; ; failures += 1) {
      signal.throwIfAborted();
      const answer = await request(method, url, {
        ...this.#options, ...rest, signal, headers: { ...this.#options.headers, ...headers },
        onSent: (bytes) => index !== undefined && this.#left(index, bytes),
      });
      this.#left(index, 0);
      if (!PASSING.has(answer.status) && answer.type !== 'merging') {
        this.trouble = null;
        return answer;
      }
      this.trouble = answer.status ? 'server' : navigator.onLine === false ? 'offline' : 'network';
      this.#changed();
      if (failures >= this.#options.retries) throw refusal(answer);
      if (rest.body instanceof Blob) await rest.body.slice(0, 1).arrayBuffer(); // throws where it is the file that fails, changed or gone
      const backoff = Math.min(this.#options.delay * 2 ** failures, this.#options.delayMax);
      await sleep(answer.retryAfter ?? backoff * (0.5 + Math.random() / 2), signal);
    }
  }

  #at(path, query) {
    const url = new URL(path, this.#options.endpoint);
    if (query) url.search = new URLSearchParams(query);
    return url.href;
  }

  #named() {
    return { hash: this.hash, filename: this.name };
  }

  #cut(chunkSize, total = Math.max(1, Math.ceil(this.size / chunkSize))) {
    this.chunkSize = chunkSize;
    this.chunks = new Uint8Array(total);
    this.#digests = new Array(total);
  }

  #length(index) {
    return index === this.chunks.length - 1 ? this.size - index * this.chunkSize : this.chunkSize;
  }

  #piece(index) {
    return this.file.slice(index * this.chunkSize, index * this.chunkSize + this.#length(index));
  }

  #mark(index, state) {
    const gained = (state >= Chunk.STORED) - (this.chunks[index] >= Chunk.STORED);
    this.#stored += gained * this.#length(index);
    this.chunks[index] = state;
    this.#changed();
  }

  #left(index, bytes) {
    this.#wire += Math.max(0, bytes - (this.#loaded.get(index) ?? 0));
    if (bytes > 0) this.#loaded.set(index, bytes);
    else this.#loaded.delete(index);
    this.#changed();
  }

  #become(state) {
    if (this.state === state || (this.#stop.signal.aborted && state !== 'cancelled')) return;
    this.state = state;
    this.#samples = [];
    this.dispatchEvent(new Event('state'));
    this.#changed();
  }

  #changed() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      const now = performance.now();
      this.#samples.push({ at: now, wire: this.#wire });
      while (this.#samples.length > 2 && this.#samples[0].at < now - 6000) this.#samples.shift();
      this.dispatchEvent(new Event('change'));
    }, 100);
  }
}

/** The name of a file's upload: stable, cheap, and another one once the file has changed. */
export async function fingerprint(file, name = file.name) {
  const about = JSON.stringify([name, file.size, file.lastModified ?? 0]);
  return hex(await hasher.digest(new Blob([about, file.slice(0, 65536), file.slice(-65536)])));
}

/** One request. No answer at all, and one that does not come in time, is status 0. */
function request(method, url, { headers, body, signal, onSent, stall, credentials }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    let watch = 0;
    const alive = () => (clearTimeout(watch), (watch = setTimeout(() => xhr.abort(), stall)));
    const end = () => (clearTimeout(watch), signal.removeEventListener('abort', quit));
    const quit = () => (end(), (xhr.onloadend = null), xhr.abort(), reject(signal.reason));
    xhr.open(method, url);
    xhr.withCredentials = credentials;
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    if (body) xhr.upload.onprogress = (event) => (alive(), onSent(event.loaded));
    xhr.onprogress = alive;
    xhr.onloadend = () => (end(), resolve(answered(xhr)));
    signal.addEventListener('abort', quit);
    alive();
    xhr.send(body ?? null);
  });
}

function answered(xhr) {
  let json = null;
  try {
    json = JSON.parse(xhr.responseText);
  } catch {} // not every answer is JSON
  const header = (name) => xhr.getResponseHeader(name);
  const after = xhr.status ? header('Retry-After') : null;
  const wait = /^\d+$/.test(after ?? '') ? after * 1000 : Date.parse(after) - Date.now();
  const retryAfter = Number.isFinite(wait) ? Math.min(Math.max(wait, 0), 300_000) + Math.random() * 250 : null;
  const type = typeof json?.type === 'string' ? json.type.split(':').at(-1) : null;
  return { status: xhr.status, ok: xhr.status >= 200 && xhr.status < 300, json, header, type, retryAfter };
}

function refusal({ status, type, json }) {
  const said = json?.detail ?? json?.title ?? (status ? `The server answered ${status}.` : 'The server cannot be reached.');
  return new UploadError(type ?? (status ? 'refused' : 'unreachable'), said, status);
}

/** Also ends when the network is back. */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener('online', end);
      signal.removeEventListener('abort', end);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, ms);
    addEventListener('online', end);
    signal.addEventListener('abort', end);
  });
}

/** Reads and hashes: in a Worker, or here where there can be none. */
class Hasher {
  #jobs = new Map();
  #worker;
  #next = 0;
  digest(blob) {
    this.#worker ??= this.#hire();
    if (this.#worker === 'none') return digested(blob);
    return new Promise((resolve, reject) => {
      const id = (this.#next += 1);
      this.#jobs.set(id, { blob, resolve, reject });
      this.#worker.postMessage({ id, blob });
    });
  }
  #hire() {
    let worker;
    try {
      // A page of another origin may import this module, but not run it as a Worker: a line of its own may.
      const own = new URL(import.meta.url).origin === location.origin;
      const line = () => new Blob([`import ${JSON.stringify(import.meta.url)};`], { type: 'text/javascript' });
      worker = new Worker(own ? import.meta.url : URL.createObjectURL(line()), { type: 'module', name: 'piton' });
    } catch {
      return 'none';
    }
    worker.onmessage = ({ data: { id, digest, error } }) => {
      const job = this.#jobs.get(id);
      this.#jobs.delete(id);
      if (error) job.reject(new UploadError('unreadable', error));
      else job.resolve(digest);
    };
    worker.onerror = () => {
      this.#worker = 'none';
      for (const { blob, resolve, reject } of this.#jobs.values()) digested(blob).then(resolve, reject);
      this.#jobs.clear();
    };
    return worker;
  }
}
const hasher = new Hasher();
const digested = async (blob) => sha256(await blob.arrayBuffer());

if (typeof WorkerGlobalScope !== 'undefined' && self instanceof WorkerGlobalScope && self.name === 'piton') {
  self.onmessage = ({ data: { id, blob } }) =>
    digested(blob).then(
      (digest) => self.postMessage({ id, digest }),
      (error) => self.postMessage({ id, error: String(error?.message ?? error) }),
    );
}

/** SHA-256. Pages that came over plain http from another machine have no WebCrypto. */
async function sha256(bytes) {
  return new Uint8Array(globalThis.crypto?.subtle ? await crypto.subtle.digest('SHA-256', bytes) : sha256Plain(bytes));
}

const PRIMES = Array.from({ length: 310 }, (_, n) => n + 2).filter((n) => ![2, 3, 5, 7, 11, 13, 17].some((d) => n > d && n % d === 0));
const fraction = (root) => ((root % 1) * 2 ** 32) | 0;

function sha256Plain(bytes) {
  const k = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
  const state = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));
  const whole = bytes.byteLength - (bytes.byteLength % 64);
  const end = new Uint8Array(bytes.byteLength - whole < 56 ? 64 : 128);
  end.set(new Uint8Array(bytes, whole));
  end[bytes.byteLength - whole] = 0x80;
  new DataView(end.buffer).setBigUint64(end.length - 8, BigInt(bytes.byteLength) * 8n);
  const w = new Int32Array(64);
  for (const view of [new DataView(bytes, 0, whole), new DataView(end.buffer)]) {
    for (let at = 0; at < view.byteLength; at += 64) compress(state, k, w, view, at);
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, at) => digest.setInt32(at * 4, word));
  return digest.buffer;
}

function compress(state, k, w, view, at) {
  for (let i = 0; i < 16; i += 1) w[i] = view.getInt32(at + i * 4);
  for (let i = 16; i < 64; i += 1) {
    const x = w[i - 15];
    const y = w[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i += 1) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    (h = g), (g = f), (f = e), (e = (d + t1) | 0), (d = c), (c = b), (b = a), (a = (t1 + t2) | 0);
  }
  [a, b, c, d, e, f, g, h].forEach((word, at) => (state[at] += word));
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const base64 = (bytes) => btoa(String.fromCharCode(...bytes));

/** The server takes names of up to 255 bytes; the end of a longer one, which says what it is, stays. */
function shortened(name) {
  const dot = name.lastIndexOf('.');
  const end = dot > 0 && name.length - dot <= 16 ? name.slice(dot) : '';
  const length = (text) => new TextEncoder().encode(text).length;
  let stem = [...name.slice(0, name.length - end.length)];
  while (length(stem.join('') + end) > NAME_BYTES_MAX) stem.pop();
  return stem.join('') + end;
}

// Storage may be switched off, or full: then an upload over tus begins anew after a reload.
function remember(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key);
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {}
  return null;
}
