// Runs the scenarios of the clients, one after another.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { install } from './install.mjs';
import { runtime } from './runtimes.mjs';
import { Scene } from './scene.mjs';
import { within } from './waits.mjs';

const CLIENTS = ['harness', 'tus-js-client', 'uppy', 'tuspy', 'tus-java-client'];
const LONGEST = 60_000;
const BELOW = path.resolve(import.meta.dirname, '..');
const ROOT = path.resolve(BELOW, '../..');
const TARGET = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? 'target');

const HELP = `Usage: run [--server-bin PROGRAM] [--only TEXT] [CLIENT ...]

Runs unmodified clients against a server and compares what arrives.

  --server-bin PROGRAM  the server; without it piton's debug build, which is brought up to date first
  --only TEXT           only scenarios whose names hold this text
  --list                the names of clients and scenarios
  CLIENT                ${CLIENTS.join(', ')}; all of them if none is named`;

const counts = { ok: 0, failed: 0, skipped: 0 };

/** Errors of the scenario that nobody has waited for. */
const strays = new Map();
process.on('unhandledRejection', (error, promise) => strays.set(promise, error));
process.on('rejectionHandled', (promise) => strays.delete(promise));

let current;
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
  process.once(signal, () => Promise.resolve(current?.close()).finally(() => process.exit(code)));
}

/** The whole command line, or an exit with 2. */
function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        'server-bin': { type: 'string' },
        only: { type: 'string', default: '' },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    const unknown = positionals.find((name) => !CLIENTS.includes(name));
    if (unknown) throw new Error(`there is no client ${unknown}`);
    return { ...values, names: positionals.length > 0 ? positionals : CLIENTS };
  } catch (error) {
    console.error(`${error.message}\n\n${HELP}`);
    process.exit(2);
  }
}

/** The program given, or piton as it is built now. */
function server(given) {
  if (given !== undefined) {
    const program = path.resolve(given);
    if (existsSync(program)) return program;
    console.error(`there is no ${program}`);
    process.exit(2);
  }
  const build = spawnSync('cargo', ['build', '--quiet', '--bin', 'piton'], { cwd: ROOT, stdio: 'inherit' });
  if (build.status !== 0) process.exit(build.status ?? 1);
  return path.join(TARGET, 'debug/piton');
}

function failed(name, scenario, error, report = '') {
  counts.failed += 1;
  console.log(`FAILED ${name} ${scenario}: ${error.message}`);
  if (report) console.log(report.replace(/^/gm, '  '));
}

async function play(name, client, [scenario, action], program, folder) {
  const scene = await Scene.open(program);
  current = scene;
  strays.clear();
  scene.client = { ...client.programs, here: path.join(BELOW, name), folder };
  const began = Date.now();
  try {
    await within(LONGEST, action(scene), 'the scenario does not end');
    for (const error of strays.values()) throw error;
    counts.ok += 1;
    console.log(`ok ${name} ${scenario} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed(name, scenario, error, scene.report());
  } finally {
    await scene.close().catch((error) => failed(name, scenario, error));
  }
}

/** Runs one client's scenarios, as far as what it needs is there. */
async function perform(name, program, only) {
  const client = (await import(path.join(BELOW, name, 'client.mjs'))).default;
  client.programs = {};
  for (const need of client.needs) {
    client.programs[need] = runtime(need);
    if (client.programs[need] !== undefined) continue;
    counts.skipped += 1;
    return console.log(`skipped ${name}: ${need} is not installed`);
  }
  const folder = path.join(TARGET, 'clients', name);
  try {
    await install(client, path.join(BELOW, name), folder);
  } catch (error) {
    return failed(name, 'installation', error);
  }
  const { scenarios, close } = await import(path.join(BELOW, name, 'scenarios.mjs'));
  const chosen = Object.entries(scenarios).filter(([scenario]) => scenario.includes(only));
  for (const entry of chosen) await play(name, client, entry, program, folder);
  await close?.();
}

/** Clients are only imported with their scenarios once they are installed; their names are in the files. */
async function list(names) {
  for (const name of names) {
    const { scenarios } = await import(path.join(BELOW, name, 'scenarios.mjs'));
    for (const scenario of Object.keys(scenarios)) console.log(`${name} ${scenario}`);
  }
}

const { help, names, only, ...given } = options();
if (help) {
  console.log(HELP);
} else if (given.list) {
  await list(names);
} else {
  const program = server(given['server-bin']);
  for (const name of names) await perform(name, program, only);
  if (counts.ok + counts.failed + counts.skipped === 0) counts.failed += 1;
  console.log(`${counts.ok} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exitCode = counts.failed > 0 || (process.env.CI === 'true' && counts.skipped > 0) ? 1 : 0;
}
