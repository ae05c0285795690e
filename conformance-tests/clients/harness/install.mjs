// A client's own packages, from the package registries by their ordinary clients, when the lock has changed.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { Tail, within } from './waits.mjs';

const LONGEST = 10 * 60_000;

/** Runs a command to its end; throws what it said, if it failed. */
export async function command(program, args, { cwd } = {}) {
  const said = new Tail();
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => said.add(text));
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  try {
    const code = await within(LONGEST, ended, `${program} does not end`);
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}\n${said.lines(20)}`);
  } finally {
    child.kill('SIGKILL');
  }
}

/**
 * Installs `client` once for each state of its `locks` (and of its runtimes' versions): `steps(folder)` fill
 * the folder `target/clients/NAME`, and `made` must be there afterwards, in it or beside the lock.
 */
export async function install(client, here, folder) {
  const hash = createHash('sha256').update(process.version);
  for (const lock of client.locks) hash.update(await readFile(path.join(here, lock)));
  const wanted = hash.digest('hex');
  const note = path.join(folder, 'installed');
  const noted = await readFile(note, 'utf8').catch(() => '');
  const made = client.made.map((file) => path.resolve(here, file.replace(/^FOLDER/, folder)));
  if (noted === wanted && made.every(existsSync)) return;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await client.install({ here, folder, command });
  const missing = made.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new Error(`the installation has not made ${missing.join(', ')}`);
  await writeFile(note, wanted);
}
