// The page: what people see of piton.js.
import { Chunk, Slots, Upload } from './piton.js';

const WORDS = {
  en: {
    invite: 'Drop files here', choose: 'Choose files', file: 'File', digest: 'Digest', other: '中文',
    promise: 'They go in checked pieces. If the connection breaks, they go on where they were.',
    missing: 'missing', onTheWay: 'on the way', stored: 'stored', joined: 'stored without a gap',
    pause: 'Pause', resume: 'Resume', retry: 'Try again', cancel: 'Cancel', discard: 'Discard', clear: 'Clear', again: 'Choose file',
    idle: 'Waiting for its turn', checking: 'Comparing with what is there', sending: 'Sending', finishing: 'Putting it together',
    done: 'Arrived whole', paused: 'Paused', failed: 'Failed', absent: 'Interrupted. Choose the same file to go on.',
    offline: 'No network. It goes on by itself.', network: 'No connection. Trying again.', server: 'The server is busy. Trying again.',
    verified: 'The same on both sides: SHA-256 of the chunks’ digests', unverified: 'Not compared', of: (sent, size) => `${sent} of ${size}`, left: (time) => `${time} left`,
    strip: (stored, total, sending) => `${stored} of ${total} chunks stored, ${sending} on the way`, folder: 'Folders cannot be sent, the files in them can.',
    resent: (count) => `${count} damaged on the way and sent again`, named: (what, name) => `${what}: ${name}`,
  },
  zh: {
    invite: '把文件拖到这里', choose: '选择文件', file: '文件', digest: '摘要', other: 'English',
    promise: '文件分片传输，逐片校验。连接中断后，从断点继续。',
    missing: '未传', onTheWay: '传输中', stored: '已存', joined: '已存且连续',
    pause: '暂停', resume: '继续', retry: '重试', cancel: '取消', discard: '放弃', clear: '移除', again: '选择文件',
    idle: '排队中', checking: '正在核对已传部分', sending: '正在上传', finishing: '正在合并',
    done: '已完整送达', paused: '已暂停', failed: '失败', absent: '已中断。选择同一个文件即可继续。',
    offline: '网络已断开，恢复后自动继续。', network: '连接中断，正在重试。', server: '服务器繁忙，正在重试。',
    verified: '两端一致：分片摘要的 SHA-256', unverified: '未比对', of: (sent, size) => `${sent} / ${size}`, left: (time) => `剩余 ${time}`,
    strip: (stored, total, sending) => `共 ${total} 片，已存 ${stored} 片，${sending} 片传输中`, folder: '不能上传文件夹，请选择其中的文件。',
    resent: (count) => `${count} 片在途中损坏，已重传`, named: (what, name) => `${name}：${what}`,
    'disk-full': '服务器磁盘已满。', 'max-size-exceeded': '文件超过服务器允许的大小。', unreachable: '无法连接服务器。', storage: '服务器存储出错。',
    unreadable: '无法读取文件，它可能已被移动或修改。', 'composite-mismatch': '服务器上的文件与此文件不同。', 'chunk-conflict': '服务器上已有不同的同名文件。',
  },
};
const TURNS = { checking: 'pause', sending: 'pause', finishing: 'pause', paused: 'resume', failed: 'retry', absent: 'again' };
const AT_ONCE = 3;
const SLOTS = new Slots(6);
const ENDPOINT = new URL('.', location.href).href;
const allows = (what) => !document.documentElement.dataset.server.split(' ').includes(`no-${what}`);
const $ = (selector, within = document) => within.querySelector(selector);
const rows = new Map(); // upload → its element
let language = 'en';
let words = WORDS.en;

function speak(choice) {
  language = choice;
  words = WORDS[choice];
  document.documentElement.lang = choice === 'zh' ? 'zh-Hans' : 'en';
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = words[element.dataset.t];
  for (const element of $('#upload').content.querySelectorAll('[data-t]')) element.textContent = words[element.dataset.t];
  Object.assign($('#language'), { textContent: words.other, lang: choice === 'zh' ? 'en' : 'zh-Hans' });
  for (const upload of rows.keys()) show(upload);
}

// Numbers as people read them.
const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits, minimumFractionDigits: digits });

function bytes(count) {
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), 4);
  const value = count / 1024 ** power;
  return `${number(value, power > 0 && value < 100 ? 1 : 0)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
}

function span(seconds) {
  const part = (value, unit) => value.toLocaleString(language, { style: 'unit', unit, unitDisplay: 'short' });
  const [h, min, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.ceil(seconds % 60)];
  if (h > 0) return `${part(h, 'hour')} ${part(min, 'minute')}`;
  return min > 0 ? `${part(min, 'minute')} ${part(s, 'second')}` : part(Math.max(s, 1), 'second');
}

// One row for each upload.
function add(upload, replaced) {
  const row = $('#upload').content.cloneNode(true).firstElementChild;
  rows.set(upload, row);
  Object.assign($('h3', row), { textContent: upload.name, title: upload.name });
  if (replaced) rows.get(replaced).replaceWith(row), rows.delete(replaced);
  else $('#uploads').append(row);
  $('.turn', row).onclick = () => turn(upload);
  $('.away', row).onclick = () => remove(upload);
  observer.observe($('canvas', row));
  upload.addEventListener?.('change', () => show(upload));
  upload.addEventListener?.('state', () => changed(upload));
  show(upload);
}

function turn(upload) {
  if (upload.state === 'absent') $('#files').click();
  else if (TURNS[upload.state] === 'pause') upload.pause();
  else upload.start().catch(() => {});
}

function remove(upload) {
  upload.cancel();
  forget(upload);
  const row = rows.get(upload);
  const near = (row.nextElementSibling ?? row.previousElementSibling)?.querySelector('button:not([hidden])') ?? $('#choose');
  row.remove();
  rows.delete(upload);
  near.focus();
  begin();
  whole();
}

function changed(upload) {
  if (upload.state === 'sending' || upload.state === 'finishing') keep(upload);
  if (upload.state === 'done') forget(upload);
  if (upload.state !== 'checking' && upload.state !== 'cancelled') $('#said').textContent = words.named(words[upload.state], upload.name);
  show(upload);
  begin();
}

/** Starts what waits, a few at a time. */
function begin() {
  const all = [...rows.keys()];
  let busy = all.filter(({ state }) => TURNS[state] === 'pause').length;
  for (const upload of all) if (upload.state === 'idle' && (busy += 1) <= AT_ONCE) upload.start().catch(() => {});
}

function show(upload) {
  const row = rows.get(upload);
  if (!row) return;
  const { state, trouble, size, sent, result } = upload;
  const done = state === 'done';
  row.dataset.state = state;
  row.toggleAttribute('data-trouble', Boolean(trouble) && TURNS[state] === 'pause');
  const share = done || size === 0 ? Number(done) : Math.min(sent / size, 0.99);
  $('.percent', row).textContent = done ? `✓ ${words.done}` : `${number(Math.floor(share * 100))} %`;
  Object.assign($('progress', row), { value: share * 100, ariaLabel: upload.name });
  $('.facts', row).textContent = facts(upload);
  const next = TURNS[state];
  Object.assign($('.turn', row), { textContent: words[next], hidden: !next, ariaLabel: next && words.named(words[next], upload.name) });
  const away = done ? 'clear' : state === 'absent' ? 'discard' : 'cancel';
  Object.assign($('.away', row), { textContent: words[away], ariaLabel: words.named(words[away], upload.name) });
  if (done) prove(row, result);
  draw($('canvas', row), upload);
  whole();
}

function facts(upload) {
  const { state, trouble, size, sent, rate, remaining, error, resent } = upload;
  const again = resent ? [words.resent(resent)] : [];
  if (state === 'done') return [bytes(size), ...again].join(' · ');
  const progress = words.of(bytes(sent), bytes(size));
  if (state === 'failed') return `${words.failed}: ${words[error.type] ?? error.message}`;
  if (trouble && TURNS[state] === 'pause') return [progress, words[trouble]].join(' · ');
  if (state !== 'sending') return [progress, words[state], ...again].join(' · ');
  return [progress, ...(rate ? [`${bytes(rate)}/s`, words.left(span(remaining))] : [words.sending]), ...again].join(' · ');
}

function prove(row, { url, filename, digest, verified }) {
  $('.proof', row).hidden = false;
  for (const element of row.querySelectorAll('dt')) element.textContent = words[element.dataset.t];
  $('.link', row).textContent = filename;
  if (allows('download')) $('.link', row).href = url;
  $('code', row).textContent = digest ?? '';
  $('.verdict', row).textContent = verified ? `✓ ${words.verified}` : words.unverified;
}

/** The chunks, each a cell; where they are too many for that, each column stands for several. */
function draw(canvas, { chunks }) {
  const scale = devicePixelRatio;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (width === 0) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const style = getComputedStyle(canvas);
  const [missing, sending, stored, joined] = ['missing', 'sending', 'stored', 'joined'].map((name) => style.getPropertyValue(`--${name}`));
  const pen = canvas.getContext('2d');
  pen.clearRect(0, 0, width, height);
  const first = chunks.findIndex((state) => state < Chunk.STORED);
  const start = first < 0 ? chunks.length : first;
  const cells = Math.min(chunks.length, Math.floor(width / (4 * scale)));
  const gap = Math.max(1, Math.round(scale));
  const count = { sending: 0, stored: 0 };
  for (let cell = 0; cell < cells; cell += 1) {
    const [from, to] = [Math.floor((cell * chunks.length) / cells), Math.floor(((cell + 1) * chunks.length) / cells)];
    const there = { sending: 0, stored: 0 };
    for (let at = from; at < to; at += 1) there.stored += chunks[at] >= Chunk.STORED;
    for (let at = from; at < to; at += 1) there.sending += chunks[at] === Chunk.SENDING;
    const [left, right] = [Math.round((cell * (width + gap)) / cells), Math.round(((cell + 1) * (width + gap)) / cells) - gap];
    const paint = (colour, share) => ((pen.fillStyle = colour), (pen.globalAlpha = share), pen.fillRect(left, 0, right - left, height));
    paint(missing, 1);
    if (there.sending) paint(sending, 1);
    else if (there.stored) paint(to <= start ? joined : stored, there.stored / (to - from));
    for (const key in count) count[key] += there[key];
  }
  canvas.ariaLabel = words.strip(number(count.stored), number(chunks.length), number(count.sending));
}

/** The whole page: its title, and what is on it only while there are uploads. */
function whole() {
  const all = [...rows.keys()];
  document.body.classList.toggle('busy', all.length > 0);
  $('#legend').hidden = !all.some(({ state }) => state !== 'done');
  const going = all.filter(({ state }) => ['idle', 'checking', 'sending', 'finishing'].includes(state));
  const sum = (what) => going.reduce((total, upload) => total + upload[what], 0);
  document.title = going.length ? `${number(Math.floor((sum('sent') / Math.max(sum('size'), 1)) * 100))} % · piton` : 'piton';
}

// Uploads that a reload interrupted: the page may not open files by itself, so it asks for them.
const KEPT = 'piton:unfinished';
const kept = () => JSON.parse(localStorage.getItem(KEPT) ?? '{}');
const store = (change) => {
  try {
    const all = kept();
    change(all);
    localStorage.setItem(KEPT, JSON.stringify(all));
  } catch {} // without storage nothing is remembered
};
const keep = ({ hash, name, size }) => store((all) => (all[hash] = { name, size }));
const forget = ({ hash }) => store((all) => delete all[hash]);

async function recall() {
  let all = {};
  store((there) => (all = there));
  for (const [hash, { name, size }] of Object.entries(all)) {
    const url = new URL(`upload?${new URLSearchParams({ hash, filename: name })}`, ENDPOINT);
    const asked = await fetch(String(url).replace('upload?', 'upload/status?')).catch(() => null);
    const status = asked?.ok ? await asked.json() : null;
    if (status && !['receiving', 'mergeable'].includes(status.state)) forget({ hash });
    if (!status?.total || [...rows.keys()].some((upload) => upload.hash === hash)) continue;
    const chunks = new Uint8Array(status.total);
    for (const index of status.uploaded) chunks[index] = Chunk.STORED;
    add({ state: 'absent', hash, name, size, sent: status.received_bytes, chunks, cancel: () => fetch(url, { method: 'DELETE' }).catch(() => {}) });
  }
}

function take(files) {
  for (const file of files) {
    const upload = new Upload(file, { endpoint: ENDPOINT, slots: SLOTS });
    const same = [...rows.keys()].find(({ name, size }) => name === upload.name && size === upload.size);
    if (same && same.state !== 'absent' && same.file.lastModified === file.lastModified) rows.get(same).scrollIntoView();
    else add(upload, same?.state === 'absent' ? same : undefined);
  }
  begin();
}

const observer = new ResizeObserver(() => rows.forEach((row, upload) => draw($('canvas', row), upload)));
matchMedia('(prefers-color-scheme: dark)').onchange = () => [...rows.keys()].forEach(show);
$('#choose').onclick = () => $('#files').click();
$('#files').onchange = ({ target }) => (take([...target.files]), (target.value = ''));
$('#language').onclick = () => speak(language === 'en' ? 'zh' : 'en');
addEventListener('dragover', (event) => (event.preventDefault(), document.body.classList.add('over')));
addEventListener('dragleave', (event) => event.relatedTarget || document.body.classList.remove('over'));
addEventListener('drop', (event) => {
  event.preventDefault();
  document.body.classList.remove('over');
  const items = [...event.dataTransfer.items].filter(({ kind }) => kind === 'file');
  if (items.some((item) => item.webkitGetAsEntry()?.isDirectory)) $('#said').textContent = words.folder;
  take(items.filter((item) => !item.webkitGetAsEntry()?.isDirectory).map((item) => item.getAsFile()));
});
addEventListener('beforeunload', (event) => [...rows.keys()].some(({ state }) => TURNS[state] === 'pause') && event.preventDefault());
speak(navigator.languages.find((tag) => /^(en|zh)\b/i.test(tag))?.slice(0, 2).toLowerCase() ?? 'en');
recall();
