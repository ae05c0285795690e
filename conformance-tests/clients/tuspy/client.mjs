export default {
  needs: ['node', 'python'],
  locks: ['requirements.txt'],
  made: ['FOLDER/venv/bin/python'],
  async install({ here, folder, command }) {
    await command('python3', ['-m', 'venv', `${folder}/venv`]);
    const pip = ['-m', 'pip', '--disable-pip-version-check', 'install', '--no-deps', '-r', `${here}/requirements.txt`];
    await command(`${folder}/venv/bin/python`, pip);
  },
};
