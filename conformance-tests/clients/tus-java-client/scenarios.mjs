// tus-java-client on a JVM, unmodified.

import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';

import { MIB } from '../harness/files.mjs';
import { IN_THE_SERVER, UNWRITTEN } from '../harness/scene.mjs';
import { within } from '../harness/waits.mjs';

/** One upload through the line, in a process of its own. */
function upload(scene, file, options = {}) {
  const { folder } = scene.client;
  const all = { endpoint: scene.line.endpoint, file: file.path, ...options };
  const pairs = Object.entries(all).map(([name, value]) => `${name}=${value}`);
  return scene.run('java', ['-XX:TieredStopAtLevel=1', '-Xmx256m', '-cp', `${folder}/jars/*:${folder}/classes`, 'Upload', ...pairs]);
}

const offsets = (requests) => requests.map(({ headers }) => Number(headers['upload-offset']));

export const scenarios = {
  async 'chunked bodies, each expecting 100'(scene) {
    await scene.start();
    const file = await scene.file(25 * MIB + 5);
    const { url } = await upload(scene, file).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    const patches = scene.line.of('PATCH');
    assert.deepEqual(patches.map(({ body }) => body), [10 * MIB, 10 * MIB, 5 * MIB + 5]);
    for (const { method, headers, interim } of patches) {
      assert.equal(method, 'POST', 'the JVM knows no PATCH, so the client overrides POST');
      assert.equal(headers['transfer-encoding'], 'chunked');
      assert.equal(headers.expect, '100-continue');
      assert.deepEqual(interim, [100]);
    }
    const [{ name }] = await scene.server.finished();
    assert.ok(name.startsWith('walls and ropes'), `the file is called ${name}`);
  },

  async 'small requests'(scene) {
    await scene.start();
    const file = await scene.file(4 * MIB + 1);
    const { url } = await upload(scene, file, { payload: MIB / 4, chunk: 10_000 }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.equal(scene.line.of('PATCH').length, 17);
    scene.resumedProperly({ heads: 0, posts: 1 });
  },

  async 'an empty file'(scene) {
    await scene.start();
    const file = await scene.file(0);
    const { url } = await upload(scene, file).done();
    await scene.arrived(file, url);
    scene.noneRefused();
  },

  async 'pause, and resume in another process'(scene) {
    await scene.start();
    const file = await scene.file(12 * MIB);
    const urls = scene.path('urls.properties');
    const first = await upload(scene, file, { urls, chunk: MIB, stopAt: 5 * MIB }).done();
    assert.equal(first.offset, 5 * MIB);
    const { url } = await upload(scene, file, { urls }).done();
    assert.equal(url, first.url);
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    scene.resumedProperly();
  },

  async 'resume after the process was killed'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB);
    const urls = scene.path('urls.properties');
    const first = upload(scene, file, { urls });
    await within(20_000, scene.line.at(14 * MIB, () => first.kill()), 'the first process is killed');
    await scene.line.settled();
    const { url } = await upload(scene, file, { urls }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly();
    assert.ok(offsets(scene.line.of('PATCH'))[2] > 10 * MIB, 'the second process went on within a request');
  },

  async 'cuts'(scene) {
    await scene.start();
    const file = await scene.file(16 * MIB);
    const cuts = [3 * MIB + 1, 13 * MIB].map((place) => scene.line.at(place, () => scene.line.cut()));
    const { url } = await upload(scene, file, { urls: scene.path('urls.properties'), retries: 40 }).done();
    await Promise.all(cuts);
    await scene.arrived(file, url);
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly({ heads: 2 });
  },

  async 'the answer to the last PATCH lost'(scene) {
    await scene.start();
    const file = await scene.file(6 * MIB);
    const lost = scene.line.loseAnswer(({ headers, ended }) => headers['upload-offset'] && ended);
    const { url } = await upload(scene, file, { urls: scene.path('urls.properties'), retries: 40 }).done();
    await lost;
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
  },

  async 'the server away for a while'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB);
    let back;
    const killed = scene.line.at(17 * MIB, async () => {
      await scene.server.kill();
      back = wait(500).then(() => scene.server.start());
    });
    const { url } = await upload(scene, file, { urls: scene.path('urls.properties'), retries: 40 }).done();
    await killed;
    await back;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, UNWRITTEN);
    scene.resumedProperly();
  },

  async 'an upload that is gone is refused before its body'(scene) {
    await scene.start();
    const file = await scene.file(2 * MIB);
    const { url, status } = await upload(scene, file, { deleteFirst: true }).failed();
    assert.equal(status, 404);
    // The JVM asks more than once before it believes the answer.
    const patches = scene.line.of('PATCH');
    assert.ok(patches.length > 0);
    assert.deepEqual(patches.map(({ interim, answer }) => [...interim, answer?.status]), patches.map(() => [404]));
    assert.equal(scene.line.sent, 0, 'no byte of the body was asked for');
    await scene.gone(url);
  },
};
