// tuspy, the tus client for Python, unmodified.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { MIB } from '../harness/files.mjs';
import { IN_THE_SERVER, UNWRITTEN } from '../harness/scene.mjs';
import { within } from '../harness/waits.mjs';

/** One upload through the line, in a process of its own. */
function upload(scene, file, options = {}) {
  const all = {
    endpoint: scene.line.endpoint,
    file: file.path,
    metadata: { filename: path.basename(file.path) },
    retries: 40,
    retry_delay: 0.2,
    ...options,
  };
  const python = path.join(scene.client.folder, 'venv/bin/python');
  return scene.run(python, [path.join(scene.client.here, 'upload.py'), JSON.stringify(all)]);
}

const offsets = (requests) => requests.map(({ headers }) => Number(headers['upload-offset']));

export const scenarios = {
  async 'one request'(scene) {
    await scene.start();
    const file = await scene.file(16 * MIB, '墙 & ropes.bin');
    const { url } = await upload(scene, file).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.deepEqual(scene.line.requests.map(({ method }) => method), ['POST', 'PATCH']);
    const [{ name }] = await scene.server.finished();
    assert.ok(name.startsWith('墙'), `the file is called ${name}`);
  },

  async 'an empty file without metadata'(scene) {
    await scene.start();
    const file = await scene.file(0);
    const { url } = await upload(scene, file, { metadata: {} }).done();
    await scene.arrived(file, url);
    assert.equal(scene.line.requests[0].headers['upload-metadata'], '', 'tuspy sends the header without a value');
  },

  async 'the uploader for asyncio'(scene) {
    await scene.start();
    const file = await scene.file(7 * MIB + 1);
    const { url } = await upload(scene, file, { asynchronous: true, chunk_size: 2 * MIB, upload_checksum: true }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.deepEqual(offsets(scene.line.of('PATCH')), [0, 2 * MIB, 4 * MIB, 6 * MIB]);
  },

  async 'checksums'(scene) {
    await scene.start();
    const file = await scene.file(5 * MIB + 3);
    const { url } = await upload(scene, file, { chunk_size: MIB, upload_checksum: true }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    const bytes = await readFile(file.path);
    const patches = scene.line.of('PATCH');
    assert.equal(patches.length, 6);
    for (const { headers } of patches) {
      const at = Number(headers['upload-offset']);
      const sha1 = createHash('sha1').update(bytes.subarray(at, at + MIB)).digest('base64');
      assert.equal(headers['upload-checksum'], `sha1 ${sha1}`);
    }
  },

  async 'a byte damaged on its way'(scene) {
    await scene.start();
    const file = await scene.file(5 * MIB);
    scene.line.damage(2 * MIB + 777);
    const { url } = await upload(scene, file, { chunk_size: MIB, upload_checksum: true }).done();
    await scene.arrived(file, url);
    const patches = scene.line.of('PATCH');
    assert.deepEqual(offsets(patches), [0, MIB, 2 * MIB, 2 * MIB, 3 * MIB, 4 * MIB]);
    assert.deepEqual(patches.map(({ answer }) => answer.status), [204, 204, 460, 204, 204, 204]);
    scene.resumedProperly();
  },

  async 'a cut within a checksum\'s chunk'(scene) {
    await scene.start();
    const file = await scene.file(12 * MIB);
    const cut = scene.line.rightAt(5 * MIB, () => scene.line.cut());
    const { url } = await upload(scene, file, { chunk_size: 4 * MIB, upload_checksum: true }).done();
    await cut;
    await scene.arrived(file, url);
    // Nothing of a chunk counts before all of it is checked.
    assert.deepEqual(offsets(scene.line.of('PATCH')), [0, 4 * MIB, 4 * MIB, 8 * MIB]);
    scene.sentOnce(file.size, MIB);
    scene.resumedProperly();
  },

  async 'cuts'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB);
    const cuts = [3 * MIB + 1, 17 * MIB].map((place) => scene.line.at(place, () => scene.line.cut()));
    const { url } = await upload(scene, file, { chunk_size: 16 * MIB }).done();
    await Promise.all(cuts);
    await scene.arrived(file, url);
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly({ heads: 2 });
  },

  async 'the answer to a PATCH lost'(scene) {
    await scene.start();
    const file = await scene.file(6 * MIB);
    const lost = scene.line.loseAnswer(({ method, ended }) => method === 'PATCH' && ended);
    const { url } = await upload(scene, file, { chunk_size: 4 * MIB }).done();
    await lost;
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
    scene.resumedProperly();
  },

  async 'the answer to the last PATCH lost'(scene) {
    await scene.start();
    const file = await scene.file(6 * MIB);
    const lost = scene.line.loseAnswer(({ method, ended }) => method === 'PATCH' && ended);
    const { url } = await upload(scene, file).done();
    await lost;
    // tuspy then sends an empty PATCH at the end, which has to be taken for done.
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.deepEqual(offsets(scene.line.of('PATCH')), [0, file.size]);
  },

  async 'stop, and resume from the URL storage'(scene) {
    await scene.start();
    const file = await scene.file(10 * MIB);
    const options = { urls: scene.path('urls.json'), chunk_size: 2 * MIB };
    const first = await upload(scene, file, { ...options, stop_at: 6 * MIB }).done();
    assert.equal(first.offset, 6 * MIB);
    const { url } = await upload(scene, file, options).done();
    assert.equal(url, first.url);
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    scene.resumedProperly();
  },

  async 'resume in another process'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB);
    const options = { urls: scene.path('urls.json') };
    const first = upload(scene, file, options);
    await within(20_000, scene.line.at(9 * MIB, () => first.kill()), 'the first process is killed');
    await scene.line.settled();
    const { url } = await upload(scene, file, options).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly();
    assert.ok(offsets(scene.line.of('PATCH'))[1] > 0, 'the second process went on from the middle');
  },

  async 'the server killed and started again'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB);
    const killed = scene.line.at(17 * MIB, () => scene.restart());
    const { url } = await upload(scene, file).done();
    await killed;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, UNWRITTEN);
    scene.resumedProperly();
  },

  async 'the server killed within a checksum\'s chunk'(scene) {
    await scene.start();
    const file = await scene.file(12 * MIB);
    let back;
    const killed = scene.line.at(7 * MIB, async () => {
      await scene.server.kill();
      back = wait(500).then(() => scene.server.start());
    });
    const { url } = await upload(scene, file, { chunk_size: 4 * MIB, upload_checksum: true }).done();
    await killed;
    await back;
    await scene.arrived(file, url);
    assert.deepEqual(offsets(scene.line.of('PATCH')), [0, 4 * MIB, 4 * MIB, 8 * MIB]);
  },
};
