// One upload by tus-js-client, as a process of its own:
//
//   node upload.mjs '{"endpoint": "http://…", "file": "…", …}'
//
// `urls` names the file of its URL storage, from which it goes on if the upload is known there; `stream` hides
// that it reads a file; `terminateAt` is the number of bytes after which it gives up for good. Everything else
// goes to tus.Upload as it is. The last line tells the URL, or the error (exit code 1); a client that falls
// silent ends with 3.

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';

import * as tus from 'tus-js-client';

const { file, urls, stream, terminateAt, ...options } = JSON.parse(process.argv[2]);
const input = createReadStream(file);

process.exitCode = 3;
const ended = (exitCode, what) => {
  process.exitCode = exitCode;
  console.log(JSON.stringify(what));
};
const failed = (error) => ended(1, { error: error.message, status: error.originalResponse?.getStatus() });

let givenUp = false;
const upload = new tus.Upload(stream ? Readable.from(input) : input, {
  ...options,
  ...(urls && { urlStorage: new tus.FileUrlStorage(urls) }),
  onError: failed,
  onSuccess: () => ended(0, { url: upload.url }),
  onProgress: (sent) => {
    if (givenUp || sent < (terminateAt ?? Infinity)) return;
    givenUp = true;
    upload.abort(true).then(() => ended(0, { terminated: upload.url }), failed);
  },
});
if (urls) {
  const [known] = await upload.findPreviousUploads();
  if (known) upload.resumeFromPreviousUpload(known);
}
upload.start();
