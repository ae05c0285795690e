// Files of random bytes, and their digests.

import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** A new file of random bytes. */
export async function randomFile(path, size) {
  const hash = createHash('sha256');
  const file = await open(path, 'wx');
  const block = Buffer.allocUnsafe(Math.min(size, MIB));
  for (let left = size; left > 0; left -= Math.min(left, MIB)) {
    const piece = randomFillSync(block.subarray(0, Math.min(left, MIB)));
    hash.update(piece);
    await file.write(piece);
  }
  await file.close();
  return { path, size, sha256: hash.digest('hex') };
}

/** The SHA-256 of a file, in hex. */
export async function sha256(path) {
  return digested(createReadStream(path));
}

/** The SHA-256 of a stream, in hex. */
export async function digested(stream) {
  const hash = createHash('sha256');
  for await (const block of stream) hash.update(block);
  return hash.digest('hex');
}
