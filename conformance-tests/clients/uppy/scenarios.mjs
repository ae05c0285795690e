// Uppy with its dashboard, used as a person would, in Chromium on a page of another origin.

import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';

import { MIB } from '../harness/files.mjs';
import { IN_THE_SERVER, UNWRITTEN } from '../harness/scene.mjs';
import { until, within } from '../harness/waits.mjs';
import { Visit, closeBrowser } from './browser.mjs';

export const close = closeBrowser;

/** The requests of the client, without those by which the browser asks for leave. */
const asked = (scene) => scene.line.requests.filter(({ method }) => method !== 'OPTIONS');

/**
 * Bytes that Chromium sent for nothing: on its own it repeats a request whose connection, used before, was
 * reset, even a PATCH; the server refuses the old offset, and Uppy asks for the new one.
 */
function repeatedByTheBrowser(scene) {
  const conflicts = scene.line.of('PATCH').filter(({ answer }) => answer?.status === 409);
  return conflicts.reduce((sum, { body }) => sum + body, 0);
}

export const scenarios = {
  async 'upload, and what the browser asks before'(scene) {
    await scene.start();
    const visit = await Visit.of(scene);
    const file = await scene.file(16 * MIB, '墙 & ropes.bin');
    await visit.upload(file);
    const [url] = await visit.complete();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.deepEqual(asked(scene).map(({ method }) => method), ['POST', 'PATCH']);
    const preflights = scene.line.of('OPTIONS');
    const wanted = preflights.map(({ headers }) => headers['access-control-request-method']);
    assert.deepEqual([...new Set(wanted)].sort(), ['PATCH', 'POST']);
    for (const { headers, answer } of scene.line.requests) {
      assert.equal(headers.origin, visit.origin);
      assert.ok(['*', visit.origin].includes(answer.headers['access-control-allow-origin']));
    }
    const [{ name }] = await scene.server.finished();
    assert.ok(name.startsWith('墙'), `the file is called ${name}`);
  },

  async 'five files at once'(scene) {
    await scene.start();
    const visit = await Visit.of(scene);
    const names = ['a.bin', 'b.bin', 'c.bin', 'd.bin', 'e.bin'];
    const files = await Promise.all(names.map((name, n) => scene.file(n * MIB + n, name)));
    await visit.upload(...files);
    const urls = await visit.complete();
    assert.equal(urls.length, 5);
    await scene.arrived(files);
    scene.noneRefused();
  },

  async 'chunks, the first one with the creation'(scene) {
    await scene.start();
    const visit = await Visit.of(scene, { chunkSize: 2 * MIB, uploadDataDuringCreation: true });
    const file = await scene.file(5 * MIB);
    await visit.upload(file);
    const [url] = await visit.complete();
    await scene.arrived(file, url);
    scene.noneRefused();
    assert.deepEqual(asked(scene).map(({ method, body }) => [method, body]), [
      ['POST', 2 * MIB],
      ['PATCH', 2 * MIB],
      ['PATCH', MIB],
    ]);
  },

  async 'parallel uploads'(scene) {
    await scene.start();
    const visit = await Visit.of(scene, { parallelUploads: 3 });
    const file = await scene.file(9 * MIB + 1);
    await visit.upload(file);
    const [url] = await visit.complete();
    await scene.arrived(file, url);
    scene.noneRefused();
    scene.sentOnce(file.size);
    assert.ok(asked(scene).at(-1).headers['upload-concat'].startsWith('final;'));
  },

  async 'pause and resume'(scene) {
    await scene.start();
    const visit = await Visit.of(scene);
    const file = await scene.file(24 * MIB);
    const paused = scene.line.at(9 * MIB, () => visit.toggle());
    await visit.upload(file);
    await within(20_000, paused, 'the upload comes to the point where it is paused');
    await scene.line.settled();
    const before = scene.line.sent;
    await wait(700);
    assert.equal(scene.line.sent, before, 'bytes sent during the pause');
    assert.ok(before < file.size, 'the upload ended before it was paused');
    await visit.toggle();
    const [url] = await visit.complete();
    await scene.arrived(file, url);
    scene.sentOnce(file.size, IN_THE_SERVER);
    assert.deepEqual(asked(scene).map(({ method }) => method), ['POST', 'PATCH', 'HEAD', 'PATCH']);
    assert.ok(Number(asked(scene).at(-1).headers['upload-offset']) >= 8 * MIB, 'it began almost anew');
  },

  async 'a cut, over which it retries by itself'(scene) {
    await scene.start();
    const visit = await Visit.of(scene);
    const file = await scene.file(16 * MIB);
    const cut = scene.line.at(9 * MIB + 1, () => scene.line.cut());
    await visit.upload(file);
    const [url] = await visit.complete();
    await cut;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, repeatedByTheBrowser(scene) + IN_THE_SERVER);
    scene.resumedProperly();
  },

  async 'the server killed and started again'(scene) {
    await scene.start();
    const visit = await Visit.of(scene);
    const file = await scene.file(24 * MIB);
    const killed = scene.line.at(17 * MIB, () => scene.restart());
    await visit.upload(file);
    const [url] = await visit.complete();
    await killed;
    await scene.arrived(file, url);
    scene.sentOnce(file.size, repeatedByTheBrowser(scene) + UNWRITTEN);
    scene.resumedProperly();
  },

  async 'the server away until the client gives up, then retry by hand'(scene) {
    await scene.start();
    const visit = await Visit.of(scene, { retryDelays: [0, 100] });
    const file = await scene.file(16 * MIB);
    const killed = scene.line.at(9 * MIB, () => scene.server.kill());
    await visit.upload(file);
    await killed;
    await visit.failed();
    await scene.server.start();
    await visit.retry();
    const [url] = await visit.complete();
    await scene.arrived(file, url);
    scene.sentOnce(file.size, repeatedByTheBrowser(scene) + UNWRITTEN);
    scene.resumedProperly();
  },

  async 'the page loaded anew, the file chosen again'(scene) {
    await scene.start();
    const visit = await Visit.of(scene);
    const file = await scene.file(16 * MIB);
    const left = scene.line.at(9 * MIB, () => visit.reload());
    await visit.upload(file);
    await within(20_000, left, 'the upload comes to the point where the page is left');
    await scene.line.settled();
    await visit.upload(file);
    const [url] = await visit.complete();
    await scene.arrived(file, url);
    scene.sentOnce(file.size, IN_THE_SERVER);
    scene.resumedProperly();
  },

  async 'cancel'(scene) {
    await scene.start();
    const visit = await Visit.of(scene);
    const file = await scene.file(16 * MIB);
    const cancelled = scene.line.at(9 * MIB, () => visit.cancel());
    await visit.upload(file);
    await within(20_000, cancelled, 'the upload comes to the point where it is cancelled');
    await until('DELETE is answered', () => scene.line.of('DELETE')[0]?.answer);
    const [deletion] = scene.line.of('DELETE');
    assert.equal(deletion.answer.status, 204);
    await scene.gone(new URL(deletion.target, scene.line.origin).href);
  },

  async 'a file that is too large is told as such'(scene) {
    await scene.start('--max-size=1MiB');
    const visit = await Visit.of(scene);
    await visit.upload(await scene.file(2 * MIB));
    const [error] = await visit.failed();
    assert.match(error, /response code: 413/);
    assert.equal(scene.line.of('POST').length, 1, 'it is no use to try again');
    assert.equal(scene.line.sent, 0);
  },

  async 'an origin that is not allowed'(scene) {
    await scene.start('--allow-origin=https://elsewhere.example');
    const visit = await Visit.of(scene, { retryDelays: [0] });
    await visit.upload(await scene.file(MIB));
    await visit.failed();
    assert.deepEqual(asked(scene), [], 'the browser was not to go on');
    assert.ok(scene.line.of('OPTIONS').length > 0);
  },
};
