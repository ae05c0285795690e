// What clients need on the machine: found, or installed where that is possible.

import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

const MINUTES = 60_000;

function runs(command, ...args) {
  return spawnSync(command, args, { stdio: 'ignore', timeout: 10 * MINUTES }).status === 0;
}

function found(program) {
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter(Boolean);
  return folders.map((folder) => path.join(folder, program)).find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** By name: how it is found (the program's path), and the packages of Debian that bring it. */
const RUNTIMES = {
  node: { find: () => process.execPath, packages: [] },
  chromium: { find: () => found('chromium') ?? found('chromium-browser'), packages: ['chromium'] },
  python: {
    find: () => runs('python3', '-c', 'import venv, ensurepip') && 'python3',
    packages: ['python3', 'python3-venv'],
  },
  jdk: { find: () => runs('javac', '-version') && 'javac', packages: ['default-jdk-headless'] },
  maven: { find: () => runs('mvn', '-version') && 'mvn', packages: ['maven'] },
};

let listed = false;

/** Debian's packages, where one may install them. */
function installed(packages) {
  if (packages.length === 0 || process.getuid?.() !== 0 || !found('apt-get')) return false;
  console.error(`installing ${packages.join(', ')}`);
  listed ||= runs('apt-get', 'update');
  return runs('apt-get', 'install', '-y', '--no-install-recommends', ...packages);
}

/** The path of a runtime's program, or nothing. */
export function runtime(name) {
  const { find, packages } = RUNTIMES[name];
  return find() || (installed(packages) && find()) || undefined;
}
