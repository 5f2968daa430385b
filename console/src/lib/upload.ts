//! Uploads in parts that go on where they broke off. Pure but for the calls that it is given.

export interface Part {
  /** How much the other side has. */
  received(): Promise<number>;
  /** Sends a part behind `offset`; answers how much is there then. */
  append(offset: number, part: Blob, signal: AbortSignal): Promise<number>;
}

export interface Progress {
  sent: number;
  size: number;
  /** Why it waits, if it does. */
  waiting: unknown;
}

export interface UploadOptions {
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
  pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Whether to go on after this. */
  passing: (error: unknown) => boolean;
}

const PART_BYTES = 8 << 20;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Sends everything behind what is there already. After a failure that may pass it asks how much
 * arrived and goes on from there, for as long as nobody ends it.
 */
export async function upload(body: Blob, to: Part, options: UploadOptions): Promise<void> {
  let sent = 0;
  let failures = 0;
  let known = false;
  while (!known || sent < body.size) {
    options.signal.throwIfAborted();
    try {
      sent = known ? await to.append(sent, body.slice(sent, sent + PART_BYTES), options.signal) : await to.received();
      known = true;
      failures = 0;
      options.onProgress({ sent, size: body.size, waiting: null });
    } catch (error) {
      if (options.signal.aborted || !options.passing(error)) throw error;
      failures += 1;
      known = false;
      options.onProgress({ sent, size: body.size, waiting: error });
      await options.pause(Math.min(LONGEST_PAUSE_MS, 500 * 2 ** Math.min(failures, 6)), options.signal);
    }
  }
}
