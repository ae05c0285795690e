// The page, as people use it: whatever happens on the way, the file on the disk is the file that was chosen.

import assert from 'node:assert/strict';
import { open, readFile, truncate } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

import { MIB, Server, closeBrowser, damaging, file, folder, network, sentChunks, slow, visit } from './harness.mjs';

const CHUNKS = 25; // of 8 MiB, in 200 MiB
const LONG = { timeout: 120_000 };

test.after(closeBrowser);

const done = (page) => page.waitForSelector('.upload[data-state=done]', LONG);
const facts = (page) => page.textContent('.facts');

/** Waits until the server has said of so many chunks that they are stored. */
async function stored(page, count, nth = 0) {
  const there = await page.waitForFunction(([count, nth]) => {
    const said = document.querySelectorAll('canvas')[nth]?.ariaLabel ?? '';
    const number = Number((/^(\d+) of/.exec(said) ?? /已存 (\d+)/.exec(said))?.[1]);
    return number >= count && number;
  }, [count, nth], LONG);
  return there.jsonValue();
}

async function arrivedWhole(server, page, chosen) {
  await done(page);
  assert.deepEqual(await server.finished(), [chosen.sha256]);
  assert.match(await page.textContent('.verdict'), /^✓ The same on both sides/);
  assert.deepEqual(page.wrong, []);
}

/** A file of zeros that takes no room. */
async function hollow(t, bytes, name) {
  const made = path.join(await folder(t), name);
  await (await open(made, 'w')).close();
  await truncate(made, bytes);
  return made;
}

/** What the page calls the upload. */
const hashOf = (page) => new URL(page.asked.find((request) => request.method() === 'PUT').url()).searchParams.get('hash');

test('200 MiB arrive, each chunk is sent once, and nothing is asked of anybody else', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 200 * MIB);
  await page.setInputFiles('#files', chosen.path);
  await arrivedWhole(server, page, chosen);
  assert.deepEqual(sentChunks(page).sort((a, b) => a - b), [...Array(CHUNKS).keys()]);
  const foreign = page.asked.map((request) => request.url()).filter((url) => !/^(data|blob):/.test(url) && !url.startsWith(server.url));
  assert.deepEqual(foreign, []);
  const link = await page.getAttribute('.link', 'href');
  assert.equal((await fetch(link)).headers.get('content-length'), String(200 * MIB));
  assert.match(await page.textContent('code'), /^[0-9a-f]{64}$/);
});

test('after a reload the same file goes on, and no stored chunk is sent again', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 200 * MIB);
  await slow(page, 40 * MIB);
  await page.setInputFiles('#files', chosen.path);
  await stored(page, 6);
  await page.reload();
  const hash = hashOf(page);
  await page.waitForSelector('.upload[data-state=absent]');
  await wait(500); // requests that the reload cut off have ended
  const { uploaded } = await server.status(hash, 'walls and ropes.bin');
  assert.ok(uploaded.length >= 6 && uploaded.length < CHUNKS, String(uploaded));
  page.asked.length = 0;
  await page.setInputFiles('#files', chosen.path);
  await arrivedWhole(server, page, chosen);
  const missing = [...Array(CHUNKS).keys()].filter((index) => !uploaded.includes(index));
  assert.deepEqual(sentChunks(page).sort((a, b) => a - b), missing);
  assert.equal(await page.locator('.upload').count(), 1);
});

test('what was interrupted can be discarded', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  await slow(page, 40 * MIB);
  await page.setInputFiles('#files', (await file(t, 120 * MIB)).path);
  await stored(page, 3);
  const hash = hashOf(page);
  await page.reload();
  await page.waitForSelector('.upload[data-state=absent]');
  assert.match(await facts(page), /^[0-9.]+ MiB of 120 MiB · Interrupted/);
  await wait(500);
  const gone = page.waitForResponse((answer) => answer.request().method() === 'DELETE');
  await page.click('.away');
  assert.equal((await gone).status(), 204);
  assert.equal((await server.status(hash, 'walls and ropes.bin')).state, 'none');
  await page.reload();
  assert.equal(await page.locator('.upload').count(), 0);
});

test('the network goes for ten seconds, and it goes on by itself', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 200 * MIB);
  await slow(page, 40 * MIB);
  await page.setInputFiles('#files', chosen.path);
  await stored(page, 5);
  await network(page, { offline: true });
  await page.waitForFunction(() => document.querySelector('.upload[data-trouble] .facts')?.textContent.includes('No network'), null, LONG);
  const before = sentChunks(page).length;
  await wait(10_000);
  await network(page);
  await arrivedWhole(server, page, chosen);
  assert.ok(sentChunks(page).length - before < 120, 'attempts grow rarer');
});

test('the server is killed and started again under the page', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 200 * MIB);
  await slow(page, 40 * MIB);
  await page.setInputFiles('#files', chosen.path);
  const before = await stored(page, 8);
  await server.kill9();
  await page.waitForSelector('.upload[data-trouble]');
  await wait(1500);
  await server.run();
  const { uploaded } = await server.status(hashOf(page), 'walls and ropes.bin');
  assert.ok(uploaded.length >= before, 'what was told as stored is stored');
  await arrivedWhole(server, page, chosen);
});

test('a chunk that is damaged on its way is refused and sent again', async (t) => {
  const server = await Server.start(t);
  const line = await damaging(t, server, 3);
  const page = await visit(t, line.url);
  const answers = [];
  page.on('response', (answer) => answers.push([answer.request().method(), answer.status()]));
  const chosen = await file(t, 64 * MIB);
  await page.setInputFiles('#files', chosen.path);
  await arrivedWhole(server, page, chosen);
  assert.equal(line.damage.done, 1);
  assert.equal(answers.filter(([method, status]) => method === 'PUT' && status === 400).length, 1);
  assert.deepEqual(sentChunks(page).filter((index) => index === 3), [3, 3]);
  assert.match(await facts(page), /1 damaged on the way and sent again/);
});

test('pause keeps what is stored, resume goes on, cancel leaves nothing', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const chosen = await file(t, 120 * MIB);
  await slow(page, 30 * MIB);
  await page.setInputFiles('#files', chosen.path);
  await stored(page, 3);
  await page.focus('.turn');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.upload[data-state=paused]');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Resume');
  const before = sentChunks(page).length;
  await wait(1500);
  assert.equal(sentChunks(page).length, before, 'nothing is sent while it is paused');
  await page.keyboard.press('Enter');
  await stored(page, 6);
  await page.click('.away');
  assert.equal(await page.locator('.upload').count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'choose');
  const hash = hashOf(page);
  for (let tries = 0; (await server.status(hash, 'walls and ropes.bin')).state !== 'none'; tries += 1) {
    assert.ok(tries < 50, 'it is still there');
    await wait(100);
  }
  assert.deepEqual(await server.finished(), []);
});

test('an empty file, a long name, one that is there already, and several at once', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const buffer = Buffer.from('hello world!');
  const files = [
    { name: 'empty.txt', mimeType: 'text/plain', buffer: Buffer.alloc(0) },
    { name: `${'峰'.repeat(120)}.tar`, mimeType: 'text/plain', buffer },
    ...Array.from({ length: 8 }, (_, n) => ({ name: `${n}.txt`, mimeType: 'text/plain', buffer: Buffer.from(String(n)) })),
  ];
  await page.setInputFiles('#files', files);
  await page.waitForFunction(() => document.querySelectorAll('.upload[data-state=done]').length === 10, null, LONG);
  assert.equal((await server.finished()).length, 10);
  const puts = sentChunks(page).length;
  const other = await visit(t, server.url);
  const chosen = await file(t, 9 * MIB, 'twice.bin');
  await page.setInputFiles('#files', chosen.path);
  await page.waitForFunction(() => document.querySelectorAll('.upload[data-state=done]').length === 11, null, LONG);
  await other.setInputFiles('#files', chosen.path);
  await done(other);
  assert.equal(sentChunks(page).length, puts + 2);
  assert.deepEqual(sentChunks(other), [], 'it is there, compared and not sent');
  assert.equal((await server.finished()).length, 11);
});

test('a refusal is told, and can be tried again', async (t) => {
  const server = await Server.start(t, '--max-size=1MiB');
  const page = await visit(t, server.url, { locale: 'zh-CN' });
  await page.setInputFiles('#files', (await file(t, 2 * MIB)).path);
  await page.waitForSelector('.upload[data-state=failed]');
  assert.equal(await facts(page), '失败: 文件超过服务器允许的大小。');
  assert.equal(await page.textContent('.turn'), '重试');
  assert.match(await page.textContent('#said'), /失败/);
});

test('the page speaks the language of the browser, and says which', async (t) => {
  const server = await Server.start(t);
  for (const [locale, lang, invite] of [
    ['en-GB', 'en', 'Drop files here'],
    ['zh-CN', 'zh-Hans', '把文件拖到这里'],
    ['fr-FR', 'en', 'Drop files here'],
  ]) {
    const page = await visit(t, server.url, { locale });
    assert.equal(await page.getAttribute('html', 'lang'), lang);
    assert.equal(await page.textContent('#invite'), invite);
    await page.click('#language');
    assert.equal(await page.getAttribute('html', 'lang'), lang === 'en' ? 'zh-Hans' : 'en');
  }
});

test('nothing hinders people who cannot see it, or use a phone, or the dark', async (t) => {
  const server = await Server.start(t);
  const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  for (const colorScheme of ['light', 'dark']) {
    const page = await visit(t, server.url, { colorScheme, width: 360 });
    await page.setInputFiles('#files', (await file(t, 20 * MIB, `${colorScheme}.bin`)).path);
    await done(page);
    await slow(page, 4 * MIB);
    await page.setInputFiles('#files', (await file(t, 60 * MIB, `${'long '.repeat(20)}.bin`)).path);
    await page.waitForSelector('.upload[data-state=sending]');
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.ok(!wide, 'it fits on a phone');
  }
});

test('ten thousand chunks are drawn while the page stays quick', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const total = 9_990;
  const uploaded = Array.from({ length: total / 2 }, (_, index) => index * 2);
  const status = { state: 'receiving', uploaded, total, chunk_size: 8 * MIB, size: total * 8 * MIB };
  await page.route('**/upload/status?*', (route) => route.fulfill({ json: status }));
  await page.route('**/upload/check?*', (route) => route.fulfill({ json: { exists: true } }));
  await page.setInputFiles('#files', await hollow(t, total * 8 * MIB, 'huge.img'));
  await page.waitForFunction(() => /^4,995 of 9,990 chunks/.test(document.querySelector('canvas')?.ariaLabel), null, LONG);
  const frames = await page.evaluate(async () => {
    const times = [];
    for (let frame = 0; frame < 40; frame += 1) {
      await new Promise(requestAnimationFrame);
      times.push(performance.now());
    }
    return times.slice(1).map((time, at) => time - times[at]).sort((a, b) => a - b);
  });
  assert.ok(frames[20] < 100, `a frame in ${frames[20]} ms`);
  await page.click('.turn');
  await page.waitForSelector('.upload[data-state=paused]');
});

test('files are dropped anywhere on the page', async (t) => {
  const server = await Server.start(t);
  const page = await visit(t, server.url);
  const dropped = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    for (const name of ['a.txt', 'b.txt']) transfer.items.add(new File([name], name));
    return transfer;
  });
  await page.dispatchEvent('main', 'dragover', { dataTransfer: dropped });
  assert.equal(await page.getAttribute('body', 'class'), 'over');
  await page.dispatchEvent('main', 'drop', { dataTransfer: dropped });
  await page.waitForFunction(() => document.querySelectorAll('.upload[data-state=done]').length === 2, null, LONG);
  assert.equal(await page.getAttribute('body', 'class'), 'busy');
  assert.equal((await server.finished()).length, 2);
});

test('the pictures in docs', { skip: !process.env.PITON_PICTURES && 'asked for by PITON_PICTURES=1' }, async (t) => {
  const docs = path.resolve(import.meta.dirname, '../../docs');
  for (const [name, options] of [
    ['light', { colorScheme: 'light' }],
    ['dark', { colorScheme: 'dark' }],
    ['zh', { colorScheme: 'light', locale: 'zh-CN', width: 390 }],
  ]) {
    const server = await Server.start(t);
    const page = await visit(t, server.url, { height: 600, deviceScaleFactor: 1.5, ...options });
    await page.setInputFiles('#files', (await file(t, 24 * MIB, 'north face, first light.jpg')).path);
    await done(page);
    await slow(page, 25 * MIB);
    await page.setInputFiles('#files', await hollow(t, 240 * MIB, 'expedition-diary-2026.tar'));
    await stored(page, 4, 1);
    await page.setInputFiles('#files', await hollow(t, 3000 * MIB, 'summit interview, camera 2.mov'));
    await stored(page, 4, 2);
    await page.locator('.turn').nth(2).click();
    await page.waitForSelector('.upload[data-state=paused]');
    await page.waitForFunction(() => document.querySelectorAll('.facts')[1].textContent.includes('/s'));
    await wait(1000);
    await page.mouse.move(0, 0);
    await page.evaluate(() => document.activeElement.blur());
    await page.screenshot({ path: path.join(docs, `page-${name}.png`), fullPage: true });
  }
});
