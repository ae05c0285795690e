// Uploads a random file with tus-js-client, aborts within a request, resumes with a new Upload object from
// the stored URL, downloads the file and compares.
//
//   node upload.mjs http://127.0.0.1:8080/files/ [MiB]

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tus from 'tus-js-client';

const MIB = 1024 * 1024;
const CHUNK_SIZE = 8 * MIB;

const endpoint = process.argv[2];
const size = Number(process.argv[3] ?? 100) * MIB;
if (!endpoint || !Number.isSafeInteger(size) || size < 4 * CHUNK_SIZE) {
  console.error('usage: node upload.mjs URL [MiB, at least 32]');
  process.exit(2);
}

/** Writes `size` random bytes to `path` and returns their SHA-256. */
async function randomFile(path) {
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  for (let left = size; left > 0; left -= MIB) {
    const piece = randomBytes(Math.min(left, MIB));
    hash.update(piece);
    await file.write(piece);
  }
  await file.close();
  return hash.digest('hex');
}

/** The options of every attempt; requests are noted in `seen`. */
function options(urls, seen) {
  return {
    endpoint,
    chunkSize: CHUNK_SIZE,
    retryDelays: [0, 200, 1000],
    urlStorage: new tus.FileUrlStorage(urls),
    metadata: { filename: 'tus-js-client.bin', filetype: 'application/octet-stream' },
    onAfterResponse: (request, response) => {
      seen.push({
        method: request.getMethod(),
        status: response.getStatus(),
        offset: Number(request.getHeader('Upload-Offset') ?? NaN),
      });
    },
  };
}

/** Begins an upload and aborts it while a request past 40 % of the file is under way. */
function uploadAndAbort(path, urls, seen) {
  return new Promise((resolve, reject) => {
    let aborting = false;
    const upload = new tus.Upload(createReadStream(path), {
      ...options(urls, seen),
      onError: reject,
      onSuccess: () => reject(new Error('the upload ended before it was aborted')),
      onBeforeRequest: (request) => {
        const offset = Number(request.getHeader('Upload-Offset') ?? NaN);
        if (!aborting && offset > size * 0.4) {
          aborting = true;
          setTimeout(() => upload.abort().then(() => resolve(offset), reject), 3);
        }
      },
    });
    upload.start();
  });
}

/** Resumes from what was stored, as a program started anew would. Resolves to the upload's URL. */
async function resume(path, urls, seen) {
  const outcome = deferred();
  const upload = new tus.Upload(createReadStream(path), {
    ...options(urls, seen),
    onError: outcome.reject,
    onSuccess: () => outcome.resolve(upload.url),
  });
  const previous = await upload.findPreviousUploads();
  if (previous.length !== 1) {
    throw new Error(`${previous.length} uploads are stored, not one`);
  }
  upload.resumeFromPreviousUpload(previous[0]);
  upload.start();
  return outcome.promise;
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

/** The SHA-256 of what GET answers. */
async function download(url) {
  const response = await fetch(url);
  if (response.status !== 200) {
    throw new Error(`GET ${url} was answered ${response.status}`);
  }
  const hash = createHash('sha256');
  for await (const piece of response.body) {
    hash.update(piece);
  }
  return hash.digest('hex');
}

/** Checks that the second attempt began with HEAD, made nothing new and went on from the middle. */
function judgeResumption(seen) {
  const [first, second] = seen;
  if (first?.method !== 'HEAD' || first.status !== 200) {
    throw new Error(`the resumption began with ${JSON.stringify(first)}`);
  }
  if (seen.some(({ method }) => method === 'POST')) {
    throw new Error('the resumption made a new upload');
  }
  if (!(second?.offset > 0)) {
    throw new Error(`the resumption went on with ${JSON.stringify(second)}`);
  }
  const refused = seen.find(({ status }) => status >= 400);
  if (refused) {
    throw new Error(`refused on the way: ${JSON.stringify(refused)}`);
  }
  return second.offset;
}

const folder = await mkdtemp(join(tmpdir(), 'tus-js-client-'));
try {
  const path = join(folder, 'file.bin');
  const urls = join(folder, 'urls.json');
  const expected = await randomFile(path);
  const aborted = await uploadAndAbort(path, urls, []);
  console.log(`aborted within the request at ${aborted} of ${size} bytes`);
  const seen = [];
  const url = await resume(path, urls, seen);
  const offset = judgeResumption(seen);
  console.log(`resumed at ${offset} with a new Upload object: ${url}`);
  const actual = await download(url);
  if (actual !== expected) {
    throw new Error(`the file has SHA-256 ${actual}, not ${expected}`);
  }
  console.log(`PASS tus-js-client: ${size} bytes, aborted, resumed at ${offset}, SHA-256 equal`);
} catch (error) {
  console.log(`FAIL tus-js-client: ${error.message}`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
