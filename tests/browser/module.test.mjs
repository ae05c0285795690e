// The module by itself: over tus, without WebCrypto, from another origin.

import assert from 'node:assert/strict';
import { readFile, truncate } from 'node:fs/promises';
import test from 'node:test';

import { MIB, Server, closeBrowser, file, sentChunks, slow, visit } from './harness.mjs';

test.after(closeBrowser);

/** Gives the page an input of its own, so that a test can hand it a file. */
async function hand(page, chosen) {
  await page.evaluate(() => {
    document.querySelector('#hand')?.remove();
    document.body.append(Object.assign(document.createElement('input'), { type: 'file', id: 'hand' }));
  });
  await page.setInputFiles('#hand', chosen.path);
}

const upload = (page, options, module = '/piton.js') =>
  page.evaluate(async ({ options, module }) => {
    const { Upload } = await import(module);
    window.upload = new Upload(document.querySelector('#hand').files[0], options);
    return window.upload.start();
  }, { options, module });

test('over tus it goes on after a reload from the offset that the server has', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 60 * MIB);
  await slow(page, 20 * MIB);
  await hand(page, chosen);
  upload(page, { protocol: 'tus' }).catch(() => {});
  await page.waitForFunction(() => window.upload?.sent > 24 * 1024 * 1024, null, { timeout: 60_000 });
  await page.reload();
  page.asked.length = 0;
  await hand(page, chosen);
  const result = await upload(page, { protocol: 'tus' });
  const methods = page.asked.map((request) => request.method());
  assert.ok(!methods.includes('POST'), 'it makes no second upload');
  assert.ok(methods.filter((method) => method === 'PATCH').length < 8, 'it sends no stored chunk again');
  assert.equal(result.protocol, 'tus');
  assert.deepEqual(await server.finished(), [chosen.sha256]);
  assert.deepEqual(page.wrong, []);
});

test('where a server has only tus, it finds that out', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 9 * MIB);
  await page.route('**/upload/status*', (route) => route.fulfill({ status: 404, body: 'no such page' }));
  await hand(page, chosen);
  const result = await upload(page, {});
  assert.equal(result.protocol, 'tus');
  assert.deepEqual(await server.finished(), [chosen.sha256]);
});

test('a page without WebCrypto hashes by itself', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, `http://piton.test:${server.port}/`);
  assert.equal(await page.evaluate(() => typeof crypto.subtle), 'undefined');
  const chosen = await file(t, 20 * MIB);
  await page.setInputFiles('#files', chosen.path);
  await page.waitForSelector('.upload[data-state=done]', { timeout: 60_000 });
  assert.match(await page.textContent('.verdict'), /^✓/);
  assert.deepEqual(await server.finished(), [chosen.sha256]);
});

test('a page of another origin uses the module of this server', async (t) => {
  const [server, other] = [await Server.start(t), await Server.start(t, '--no-page')];
  // A page without a policy of its own: that of the other server's API.
  const page = await visit(t, `${other.url}healthz`);
  const chosen = await file(t, 20 * MIB);
  await hand(page, chosen);
  const result = await upload(page, {}, `${server.url}piton.js`);
  assert.ok(result.verified && result.url.startsWith(server.url), JSON.stringify(result));
  assert.deepEqual(await server.finished(), [chosen.sha256]);
  const workers = page.workers().length;
  assert.equal(workers, 1, 'it hashes in a Worker there too');
});

test('a server that takes no digests gets the file, and nothing is claimed', async (t) => {
  const server = await Server.start(t, '--chunk-digest=none');
  const page = await visit(t, server.url);
  const chosen = await file(t, 20 * MIB);
  await hand(page, chosen);
  const result = await upload(page, {});
  assert.equal(result.verified, false);
  assert.deepEqual(await server.finished(), [chosen.sha256]);
});

test('what was sent of another file is found out by its digests and sent anew', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const [first, second] = [await file(t, 40 * MIB, 'a.bin'), await file(t, 40 * MIB, 'a.bin')];
  const hash = 'abcdef0123456789';
  const chunk = (await readFile(first.path)).subarray(0, 8 * MIB);
  for (const index of [0, 2]) {
    const query = new URLSearchParams({ hash, filename: 'a.bin', index, total: 5, size: 40 * MIB, chunk_size: 8 * MIB });
    const headers = { 'Content-Type': 'application/octet-stream' };
    const answer = await fetch(`${server.url}upload?${query}`, { method: 'PUT', headers, body: chunk });
    assert.equal(answer.status, 201);
  }
  await hand(page, second);
  const result = await page.evaluate(async (hash) => {
    const { Upload } = await import('/piton.js');
    const upload = new Upload(document.querySelector('#hand').files[0]);
    upload.hash = hash;
    return upload.start();
  }, hash);
  assert.ok(result.verified);
  assert.deepEqual(sentChunks(page).sort(), [0, 1, 2, 3, 4]);
  assert.deepEqual(await server.finished(), [second.sha256]);
});

test('Retry-After is waited for', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, MIB);
  const times = [];
  await page.route('**/upload?*', (route) => {
    times.push(performance.now());
    if (times.length > 1) return route.continue();
    return route.fulfill({ status: 503, headers: { 'Retry-After': '2' } });
  });
  await hand(page, chosen);
  await upload(page, {});
  assert.equal(times.length, 2);
  assert.ok(times[1] - times[0] >= 1900, `${times[1] - times[0]} ms`);
});

test('a file that changes on the way is told as such', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 60 * MIB);
  await slow(page, 10 * MIB);
  await hand(page, chosen);
  const failed = upload(page, { delay: 50 }).catch((error) => error.message);
  await page.waitForFunction(() => window.upload?.sent > 9 * 1024 * 1024, null, { timeout: 60_000 });
  await truncate(chosen.path, 1000);
  await failed;
  assert.equal(await page.evaluate(() => window.upload.error.type), 'unreadable');
  assert.deepEqual(await server.finished(), []);
});
