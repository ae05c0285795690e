import path from 'node:path';

export default {
  needs: ['node', 'chromium'],
  locks: ['package.json', 'package-lock.json', 'uppy.mjs'],
  made: ['node_modules/playwright-core/package.json', 'FOLDER/uppy.mjs'],
  async install({ here, folder, command }) {
    await command('npm', ['ci'], { cwd: here });
    // Uppy comes as modules that browsers cannot load one by one: some of what it needs is CommonJS.
    const esbuild = path.join(here, 'node_modules/.bin/esbuild');
    await command(esbuild, ['uppy.mjs', '--bundle', '--format=esm', `--outfile=${folder}/uppy.mjs`], { cwd: here });
  },
};
