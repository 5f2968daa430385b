//! An upload that is on its way, as pages show it.

import { ApiProblem, asProblem } from '../api/client';
import type { Schemas } from '../api/endpoints';
import { type Part, upload } from './upload';

export class Transfer {
  sent = $state(0);
  size = $state(0);
  /** `waiting`: the connection is gone; it goes on by itself. */
  state = $state<'running' | 'waiting' | 'done' | 'failed' | 'ended'>('running');
  problem = $state.raw<Schemas['Problem']>();
  #abort = new AbortController();

  constructor(readonly name: string) {}

  /** Sends it all; answers whether it arrived. */
  async run(body: Blob, to: Part): Promise<boolean> {
    this.size = body.size;
    try {
      await upload(body, to, {
        signal: this.#abort.signal,
        passing,
        pause,
        onProgress: ({ sent, waiting }) => {
          this.sent = sent;
          this.state = waiting ? 'waiting' : 'running';
        },
      });
      this.sent = this.size;
      this.state = 'done';
      return true;
    } catch (error) {
      this.state = this.#abort.signal.aborted ? 'ended' : 'failed';
      if (this.state === 'failed') this.problem = asProblem(error);
      return false;
    }
  }

  end(): void {
    this.#abort.abort();
  }
}

/** Lost connections, busy servers, and an offset that the other side knows better. */
function passing(error: unknown): boolean {
  if (!(error instanceof ApiProblem)) return false;
  const { status, type } = error.problem;
  return status === 0 || status === 429 || status === 502 || status === 503 || status === 504 || type === 'upload-offset';
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(finish, ms);
    function finish() {
      clearTimeout(timer);
      removeEventListener('online', finish);
      signal.removeEventListener('abort', stop);
      resolve();
    }
    function stop() {
      clearTimeout(timer);
      removeEventListener('online', finish);
      reject(signal.reason as Error);
    }
    addEventListener('online', finish, { once: true });
    signal.addEventListener('abort', stop, { once: true });
  });
}
