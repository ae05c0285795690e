// tus-js-client in Node, unmodified.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { KIB, MIB } from '../harness/files.mjs';
import { IN_THE_SERVER, UNWRITTEN } from '../harness/scene.mjs';
import { until, within } from '../harness/waits.mjs';

const RETRIES = [0, 100, 300, 500, 1000, 2000, 4000];

/** One upload through the line, in a process of its own. */
function upload(scene, file, options = {}) {
  const all = {
    endpoint: scene.line.endpoint,
    file: file.path,
    metadata: { filename: path.basename(file.path) },
    retryDelays: RETRIES,
    ...options,
  };
  return scene.run(scene.client.node, [path.join(scene.client.here, 'upload.mjs'), JSON.stringify(all)]);
}

const offsets = (requests) => requests.map(({ headers }) => Number(headers['upload-offset']));

export const scenarios = {
  async 'one request'(scene) {
    await scene.start();
    const file = await scene.file(32 * MIB, '墙 & ropes.bin');
    const { url } = await upload(scene, file).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.deepEqual(scene.line.requests.map(({ method }) => method), ['POST', 'PATCH']);
    const [{ name }] = await scene.server.finished();
    assert.ok(name.startsWith('墙'), `the file is called ${name}`);
  },

  async 'an empty file'(scene) {
    await scene.start();
    const file = await scene.file(0);
    const { url } = await upload(scene, file).done();
    await scene.arrived(file, url);
    scene.noneRefused();
  },

  async 'small chunks'(scene) {
    await scene.start();
    const file = await scene.file(4 * MIB + 1);
    const { url } = await upload(scene, file, { chunkSize: 32 * KIB }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.equal(scene.line.of('PATCH').length, 129);
    scene.resumedProperly({ heads: 0 });
  },

  async 'upload during creation'(scene) {
    await scene.start();
    const file = await scene.file(5 * MIB);
    const { url } = await upload(scene, file, { uploadDataDuringCreation: true }).done();
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
    assert.deepEqual(scene.line.requests.map(({ method }) => method), ['POST']);
  },

  async 'upload during creation, in chunks'(scene) {
    await scene.start();
    const file = await scene.file(5 * MIB + 7);
    const { url } = await upload(scene, file, { uploadDataDuringCreation: true, chunkSize: 2 * MIB }).done();
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
    assert.deepEqual(scene.line.requests.map(({ body }) => body), [2 * MIB, 2 * MIB, MIB + 7]);
  },

  async 'deferred length'(scene) {
    await scene.start();
    const file = await scene.file(5 * MIB + 7);
    const { url } = await upload(scene, file, { stream: true, uploadLengthDeferred: true, chunkSize: MIB }).done();
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
    scene.noneRefused();
    const [creation, ...patches] = scene.line.requests;
    assert.equal(creation.headers['upload-defer-length'], '1');
    const lengths = patches.map(({ headers }) => headers['upload-length']);
    assert.equal(lengths.pop(), String(file.size));
    assert.deepEqual(lengths.filter(Boolean), [], 'nobody knows the length before the end');
  },

  async 'deferred length, a whole number of chunks'(scene) {
    await scene.start();
    const file = await scene.file(4 * MIB);
    const { url } = await upload(scene, file, { stream: true, uploadLengthDeferred: true, chunkSize: 64 * KIB }).done();
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
    scene.noneRefused();
    assert.equal(scene.line.of('PATCH').at(-1).headers['upload-length'], String(file.size));
  },

  async 'deferred length over a cut'(scene) {
    await scene.start();
    const file = await scene.file(6 * MIB + 7);
    const cut = scene.line.rightAt(2 * MIB + 12_345, () => scene.line.cut());
    const { url } = await upload(scene, file, { stream: true, uploadLengthDeferred: true, chunkSize: MIB }).done();
    await cut;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, MIB);
    scene.resumedProperly();
  },

  async 'override of the method'(scene) {
    await scene.start();
    const file = await scene.file(3 * MIB);
    const { url } = await upload(scene, file, { overridePatchMethod: true, chunkSize: MIB }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    assert.deepEqual(scene.line.requests.map(({ method }) => method), Array(4).fill('POST'));
    assert.deepEqual(offsets(scene.line.of('PATCH')), [0, MIB, 2 * MIB]);
  },

  async 'parallel uploads'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB + 3);
    const { url } = await upload(scene, file, { parallelUploads: 4 }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    const concats = scene.line.of('POST').map(({ headers }) => headers['upload-concat']);
    assert.deepEqual(concats.map((value) => value.split(';')[0]), ['partial', 'partial', 'partial', 'partial', 'final']);
    const [{ name }] = await scene.server.finished();
    assert.ok(name.startsWith('walls and ropes'), `the file is called ${name}`);
  },

  async 'parallel uploads over a killed process'(scene) {
    await scene.start();
    const file = await scene.file(48 * MIB);
    const options = { parallelUploads: 3, urls: scene.path('urls.json') };
    const first = upload(scene, file, options);
    const killed = scene.line.at(30 * MIB, () => first.kill());
    await within(20_000, killed, 'the first process is killed');
    await scene.line.settled();
    const { url } = await upload(scene, file, options).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size, IN_THE_SERVER);
    assert.equal(scene.line.of('POST').length, 4, 'three parts and the whole were made, each once');
    assert.ok(scene.line.of('HEAD').length >= 3, 'each part was looked up');
  },

  async 'parallel uploads, the answer to the last request lost'(scene) {
    await scene.start();
    const file = await scene.file(6 * MIB);
    const options = { parallelUploads: 3, urls: scene.path('urls.json') };
    const lost = scene.line.loseAnswer(({ headers }) => headers['upload-concat']?.startsWith('final'));
    // The client does not repeat this request by itself.
    await upload(scene, file, options).failed();
    await lost;
    const { url } = await upload(scene, file, options).done();
    scene.noneRefused();
    scene.sentOnce(file.size);
    // The server cannot know that the second wish is the first one.
    await scene.arrived([file, file], url);
  },

  async 'resume in another process'(scene) {
    await scene.start();
    const file = await scene.file(48 * MIB);
    const urls = scene.path('urls.json');
    const first = upload(scene, file, { urls });
    await within(20_000, scene.line.at(20 * MIB, () => first.kill()), 'the first process is killed');
    await scene.line.settled();
    const { url } = await upload(scene, file, { urls }).done();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly();
    assert.ok(offsets(scene.line.of('PATCH'))[1] > 0, 'the second process went on from the middle');
    assert.ok((await readFile(urls, 'utf8')).includes(new URL(url).pathname));
  },

  async 'resume while the old connection looks alive'(scene) {
    await scene.start();
    const file = await scene.file(32 * MIB);
    const urls = scene.path('urls.json');
    const first = upload(scene, file, { urls });
    const gone = scene.line.at(20 * MIB, async () => {
      await first.kill();
      scene.line.vanish();
    });
    await within(20_000, gone, 'the network of the first process vanishes');
    const began = Date.now();
    const { url } = await upload(scene, file, { urls }).done();
    // That takes 30 s.
    assert.ok(Date.now() - began < 25_000, 'nobody waits until the server gives the old connection up');
    await scene.arrived(file, url);
    assert.deepEqual(scene.line.of('HEAD').map(({ answer }) => answer?.status), [200]);
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly();
  },

  async 'three cuts'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB);
    const places = [1, 8 * MIB, 20 * MIB + 4321];
    const cuts = places.map((place) => scene.line.at(place, () => scene.line.cut()));
    const { url } = await upload(scene, file).done();
    await Promise.all(cuts);
    await scene.arrived(file, url);
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly({ heads: 3 });
  },

  async 'a cut while the server still reads'(scene) {
    await scene.start();
    const file = await scene.file(48 * MIB);
    const place = 40 * MIB + 99;
    const cut = scene.line.rightAt(place, () => scene.line.cut());
    const { url } = await upload(scene, file).done();
    await cut;
    await scene.arrived(file, url);
    // What stands in the buffers of sockets is the kernel's, and may be lost with the connection.
    scene.sentOnce(file.size, 36 * MIB);
    scene.resumedProperly();
  },

  async 'cuts between small chunks'(scene) {
    await scene.start();
    const file = await scene.file(4 * MIB);
    const places = Array.from({ length: 6 }, (_, n) => (n + 1) * 512 * KIB);
    const cuts = places.map((place) => scene.line.rightAt(place, () => scene.line.cut()));
    const { url } = await upload(scene, file, { chunkSize: 256 * KIB }).done();
    await Promise.all(cuts);
    await scene.arrived(file, url);
    scene.sentOnce(file.size, places.length * 256 * KIB);
    scene.resumedProperly({ heads: 6 });
  },

  async 'the answer to the last PATCH lost'(scene) {
    await scene.start();
    const file = await scene.file(6 * MIB);
    const lost = scene.line.loseAnswer(({ method, ended }) => method === 'PATCH' && ended);
    const { url } = await upload(scene, file).done();
    await lost;
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
    assert.deepEqual(scene.line.requests.map(({ method }) => method), ['POST', 'PATCH', 'HEAD']);
  },

  async 'a stall'(scene) {
    await scene.start('--idle-timeout=3s');
    const file = await scene.file(16 * MIB);
    const stall = scene.line.at(9 * MIB + 1, () => wait(6_000));
    const { url } = await upload(scene, file).done();
    await stall;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly();
  },

  async 'the server killed and started again'(scene) {
    await scene.start();
    const file = await scene.file(32 * MIB);
    const killed = scene.line.at(20 * MIB, () => scene.restart());
    const { url } = await upload(scene, file).done();
    await killed;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, UNWRITTEN);
    scene.resumedProperly();
    assert.ok(offsets(scene.line.of('PATCH'))[1] >= 8 * MIB, 'what the killed server had written is kept');
  },

  async 'the server away for a while'(scene) {
    await scene.start();
    const file = await scene.file(16 * MIB);
    let back;
    const away = scene.line.at(9 * MIB, async () => {
      await scene.server.kill();
      back = wait(1_200).then(() => scene.server.start());
    });
    const { url } = await upload(scene, file).done();
    await away;
    await back;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, UNWRITTEN);
    scene.resumedProperly();
  },

  async 'the server stopped and started again'(scene) {
    await scene.start();
    const file = await scene.file(24 * MIB);
    const stopped = scene.line.at(10 * MIB, async () => {
      await scene.server.stop();
      await scene.server.start();
    });
    const { url } = await upload(scene, file).done();
    await stopped;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, UNWRITTEN);
    scene.resumedProperly();
  },

  async 'termination'(scene) {
    await scene.start();
    const file = await scene.file(16 * MIB);
    const { terminated } = await upload(scene, file, { terminateAt: 6 * MIB, chunkSize: 2 * MIB }).done();
    const [deletion, ...more] = scene.line.of('DELETE');
    assert.equal(deletion?.answer?.status, 204);
    assert.equal(more.length, 0);
    await scene.gone(terminated);
  },

  async 'a file that is too large'(scene) {
    await scene.start('--max-size=1MiB');
    const file = await scene.file(2 * MIB);
    const { status, error } = await upload(scene, file).failed();
    assert.equal(status, 413, error);
    assert.equal(scene.line.sent, 0);
    await until('nothing is left', async () => (await scene.server.finished()).length === 0);
  },
};
