/** What has become of a chunk. */
export const Chunk: {
  readonly MISSING: 0;
  /** On the way. */
  readonly SENDING: 1;
  /** The server has it. */
  readonly STORED: 2;
  /** Part of the finished file. */
  readonly JOINED: 3;
};

export type State =
  | 'idle'
  | 'checking'
  | 'sending'
  | 'finishing'
  | 'done'
  | 'paused'
  | 'failed'
  | 'cancelled';

/** Why requests are being sent again: no network, no answer, or an answer such as 503. */
export type Trouble = 'offline' | 'network' | 'server';

export interface Options {
  /** Where the server is; by default where this module came from. */
  endpoint?: string | URL;
  /** What to speak: `chunks`, `tus`, or by default (`auto`) chunks where the server has them. */
  protocol?: 'auto' | 'chunks' | 'tus';
  /** Where tus lives, from the endpoint on; `files/` by default. */
  tusPath?: string;
  /** Most chunks on the way at one time, 6 by default; fewer where the line is slow. */
  parallel?: number;
  /** Bytes; 8 MiB by default, and more where there would be above 10,000 chunks. */
  chunkSize?: number;
  /** How often one request may fail in a row; 30 by default. */
  retries?: number;
  /** Milliseconds before the second attempt, 500 by default; doubled before each further one. */
  delay?: number;
  /** The longest pause between two attempts in milliseconds; 15,000 by default. */
  delayMax?: number;
  /** Milliseconds without a byte after which a request is sent again; 90,000 by default. */
  stall?: number;
  /** Sent with each request. */
  headers?: Record<string, string>;
  /** Whether cookies are sent to a server of another origin. */
  credentials?: boolean;
  /** The file's name; by default its own. */
  name?: string;
  /** Places shared with other uploads; by default as many as `parallel`, and its own. */
  slots?: Slots;
}

export interface Result {
  /** Where the file can be fetched. */
  url: string;
  /** What the server calls it. */
  filename: string;
  /** Bytes. */
  size: number;
  /** SHA-256 over the SHA-256 of each chunk, in hex, as the server has computed it; null under tus. */
  digest: string | null;
  /** Whether both sides found the same: that digest, or under tus the checksum of each request, where all were made now. */
  verified: boolean;
  protocol: 'chunks' | 'tus';
}

export class UploadError extends Error {
  /**
   * The word of the server's problem, such as `disk-full`; `unreachable`, `refused` (without a word),
   * or `unreadable` for a file that cannot be read any more.
   */
  readonly type: string;
  /** The status of the answer; 0 where there was none. */
  readonly status: number;
}

/** Places for chunks on the way. Uploads that share them take turns. */
export class Slots {
  constructor(count: number);
  take(signal?: AbortSignal): Promise<void>;
  give(): void;
}

/**
 * One file on its way.
 *
 * The event `state` comes at once when `state` changes, `change` at most ten times a second when
 * anything does.
 */
export class Upload extends EventTarget {
  constructor(file: File | Blob, options?: Options);
  readonly file: File | Blob;
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The name of the upload at the server; null until it has begun. */
  readonly hash: string | null;
  readonly state: State;
  /** Why it does not get on at the moment; null where it does. */
  readonly trouble: Trouble | null;
  /** Set in the state `failed`. */
  readonly error: UploadError | null;
  /** Set in the state `done`. */
  readonly result: Result | null;
  /** Bytes that are stored or have left. */
  readonly sent: number;
  /** Bytes per second over the last seconds; null while nothing is being sent. */
  readonly rate: number | null;
  /** Seconds to go; null where that cannot be told. */
  readonly remaining: number | null;
  /** How many chunks arrived damaged and were sent again. */
  readonly resent: number;
  /** Bytes of each chunk but the last. */
  readonly chunkSize: number;
  /** One value of `Chunk` for each. */
  readonly chunks: Uint8Array;
  /**
   * Begins, or goes on after a pause, a failure or, with the same file, a reload.
   *
   * Gives null once it is paused or cancelled, and throws an `UploadError`.
   */
  start(): Promise<Result | null>;
  pause(): void;
  /** Ends it and removes what the server has of it, unless the file is finished. */
  cancel(): Promise<void>;
  addEventListener(type: 'state' | 'change', listener: (event: Event) => void, options?: boolean | AddEventListenerOptions): void;
}

/** The name under which a file is uploaded: the same for the same file, another once it changed. */
export function fingerprint(file: File | Blob, name?: string): Promise<string>;
