// Waits with an end, and logs with a limit.

const LOG_MAX = 64 * 1024;

/** The promise's outcome, or an error after so many milliseconds. */
export async function within(milliseconds, promise, otherwise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${otherwise} (waited ${milliseconds / 1000} s)`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until the answer is true. */
export async function until(what, condition, milliseconds = 10_000) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${milliseconds / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The end of what a program said. */
export class Tail {
  #text = '';

  add(text) {
    this.#text = (this.#text + text).slice(-LOG_MAX);
  }

  lines(count) {
    return this.#text.trimEnd().split('\n').slice(-count).join('\n');
  }

  toString() {
    return this.#text;
  }
}
