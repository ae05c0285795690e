export default {
  needs: ['node'],
  locks: ['package.json', 'package-lock.json'],
  made: ['node_modules/tus-js-client/package.json'],
  install: ({ here, command }) => command('npm', ['ci'], { cwd: here }),
};
