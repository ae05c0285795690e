// What the other scenarios lean on: that the line reads along, breaks where it is told to, and the judge sees.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { KIB, MIB } from './files.mjs';
import { Reader, requestBody } from './wire.mjs';

const TUS = { 'Tus-Resumable': '1.0.0' };

function ask(method, url, headers = {}, body = undefined) {
  return fetch(url, { method, headers: { ...TUS, ...headers }, body, signal: AbortSignal.timeout(10_000) });
}

/** Creates an upload for the file; returns its URL. */
async function create({ line }, file) {
  const answer = await ask('POST', line.endpoint, { 'Upload-Length': String(file.size) });
  return new URL(answer.headers.get('location'), line.endpoint).href;
}

async function patch(url, file, at = 0) {
  const headers = { 'Upload-Offset': String(at), 'Content-Type': 'application/offset+octet-stream' };
  return ask('PATCH', url, headers, (await readFile(file.path)).subarray(at));
}

/** What a reader hears of these bytes, fed in pieces of this size, with a halt at that byte of the bodies. */
function heard(bytes, size, halt = Infinity) {
  const said = [];
  let body = 0;
  const reader = new Reader({
    onHead: (first, headers) => (said.push(first), requestBody(headers)),
    onBody: (block, from, to) => {
      const passed = Math.min(to - from, halt - body);
      body += passed;
      return passed;
    },
    onEnd: () => said.push(`end at ${body}`),
  });
  for (let at = 0; at < bytes.length; at += size) {
    const block = bytes.subarray(at, at + size);
    const to = reader.feed(block);
    if (to < block.length) return [...said, `halt at ${at + to}`];
  }
  return said;
}

export const scenarios = {
  async 'requests are read in whatever pieces they come'() {
    const one = 'PATCH /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello';
    const two = 'POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n';
    const three = 'HEAD /c HTTP/1.1\r\n\r\n';
    const bytes = Buffer.from(one + two + three);
    const wanted = ['PATCH /a HTTP/1.1', 'end at 5', 'POST /b HTTP/1.1', 'end at 18', 'HEAD /c HTTP/1.1', 'end at 18'];
    for (const size of [1, 2, 3, 7, 50, bytes.length]) {
      assert.deepEqual(heard(bytes, size), wanted, `in pieces of ${size}`);
      const halt = `halt at ${bytes.indexOf('123456789')}`;
      assert.equal(heard(bytes, size, 9).at(-1), halt, `in pieces of ${size}`);
    }
  },

  async 'a cut passes on exactly so many bytes'(scene) {
    await scene.start();
    const file = await scene.file(4 * MIB);
    const url = await create(scene, file);
    const cut = scene.line.at(MIB + 1, () => scene.line.cut());
    await assert.rejects(patch(url, file));
    await cut;
    await scene.line.settled();
    const answer = await ask('HEAD', url);
    assert.equal(Number(answer.headers.get('upload-offset')), MIB + 1);
    assert.equal(scene.line.sent, MIB + 1);
    await patch(url, file, MIB + 1);
    await scene.arrived(file, url);
    scene.sentOnce(file.size);
    scene.resumedProperly();
  },

  async 'a lost answer is lost, and its request is not'(scene) {
    await scene.start();
    const file = await scene.file(64 * KIB);
    const url = await create(scene, file);
    const lost = scene.line.loseAnswer(({ method }) => method === 'PATCH');
    await assert.rejects(patch(url, file));
    await lost;
    await scene.arrived(file, url);
  },

  async 'a damaged byte is noticed'(scene) {
    await scene.start();
    const file = await scene.file(MIB);
    const url = await create(scene, file);
    scene.line.damage(1000);
    assert.equal((await patch(url, file)).status, 204);
    await assert.rejects(scene.arrived(file), /the files on the server's disk/);
  },

  async 'a missing file, and one too many, are noticed'(scene) {
    await scene.start();
    const file = await scene.file(64 * KIB);
    const url = await create(scene, file);
    await assert.rejects(scene.arrived(file, url));
    await patch(url, file);
    await patch(await create(scene, file), file);
    await assert.rejects(scene.arrived(file, url));
    await scene.arrived([file, file], url);
  },

  async 'bytes sent twice are noticed'(scene) {
    await scene.start();
    const file = await scene.file(MIB);
    const url = await create(scene, file);
    assert.throws(() => scene.sentOnce(file.size));
    await patch(url, file);
    scene.sentOnce(file.size);
    assert.equal((await patch(url, file)).status, 409);
    assert.throws(() => scene.sentOnce(file.size), /sent twice/);
    assert.throws(() => scene.noneRefused(), /409/);
  },

  async 'a PATCH at another offset than the server told is noticed'(scene) {
    await scene.start();
    const file = await scene.file(MIB);
    const url = await create(scene, file);
    await ask('HEAD', url);
    scene.resumedProperly();
    await patch(url, file, 5);
    assert.throws(() => scene.resumedProperly(), /the offset of PATCH/);
  },

  async 'an upload that is still there is noticed'(scene) {
    await scene.start();
    const file = await scene.file(64 * KIB);
    const url = await create(scene, file);
    await assert.rejects(scene.gone(url));
    await ask('DELETE', url);
    await scene.gone(url);
  },
};
