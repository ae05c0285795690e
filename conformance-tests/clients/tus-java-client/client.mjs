import path from 'node:path';

export default {
  needs: ['node', 'jdk', 'maven'],
  locks: ['pom.xml', 'Upload.java'],
  made: ['FOLDER/jars', 'FOLDER/classes/Upload.class'],
  async install({ here, folder, command }) {
    const pom = ['-q', '-B', '-f', path.join(here, 'pom.xml'), `-DoutputDirectory=${folder}/jars`];
    await command('mvn', [...pom, 'dependency:copy-dependencies']);
    const classes = ['-encoding', 'UTF-8', '-d', `${folder}/classes`, '-cp', `${folder}/jars/*`];
    await command('javac', [...classes, path.join(here, 'Upload.java')]);
  },
};
