//! The lines of a log that are shown: those that were fetched, joined with those that come.

import { address, asProblem, call, credentials, transport } from '../api/client';
import type { LogLine, LogsQuery, Schemas } from '../api/endpoints';
import { Stream } from './sse';

/** Most lines that are kept in the page; the oldest go first. */
export const MOST_LINES = 100_000;
const PAGE = 1000;
const SILENCE_MS = 40_000;

export interface Filter {
  app?: string;
  process?: string;
  instance?: string;
  stream?: string;
  grep?: string;
  since?: string;
  build?: boolean;
  access?: boolean;
}

/** A log that is open; close it when the page is left. */
export class LogView {
  lines = $state.raw<LogLine[]>([]);
  loading = $state(true);
  problem = $state.raw<Schemas['Problem']>();
  /** Whether older lines may exist. */
  more = $state(true);
  /** `still`: nothing is followed; `lost`: what is shown is not the newest. */
  follows = $state<'still' | 'live' | 'lost'>('still');
  /** Lines that were left out, because they came faster than they could be read. */
  skipped = $state(0);

  #path: { project: string; environment: string };
  #filter: Filter;
  #stream: Stream | null = null;
  #waiting: LogLine[] = [];
  #frame = 0;
  #abort = new AbortController();
  #older = false;

  constructor(path: { project: string; environment: string }, filter: Filter) {
    this.#path = path;
    this.#filter = filter;
  }

  /** Shows the newest, and follows; or the lines around one, and stands still. */
  async open(around: string | null): Promise<void> {
    try {
      const lines = await this.#read(around ? { around } : {});
      if (this.#abort.signal.aborted) return;
      this.lines = lines;
      this.more = lines.length >= PAGE / 2;
      if (!around) this.#follow();
    } catch (error) {
      if (!this.#abort.signal.aborted) this.problem = asProblem(error);
    } finally {
      this.loading = false;
    }
  }

  /** Fetches what is before the first line. */
  async older(): Promise<void> {
    const first = this.lines[0];
    if (!first || !this.more || this.#older || this.lines.length >= MOST_LINES) return;
    this.#older = true;
    try {
      const lines = await this.#read({ before: first.id });
      this.more = lines.length === PAGE;
      this.lines = [...lines, ...this.lines];
    } catch (error) {
      if (!this.#abort.signal.aborted) this.problem = asProblem(error);
    } finally {
      this.#older = false;
    }
  }

  close(): void {
    this.#abort.abort();
    this.#stream?.close();
    cancelAnimationFrame(this.#frame);
  }

  async #read(query: LogsQuery): Promise<LogLine[]> {
    return await call('GET /v1/projects/{project}/environments/{environment}/logs', {
      path: this.#path,
      query: { ...this.#filter, ...query, limit: PAGE },
      signal: this.#abort.signal,
    });
  }

  #follow(): void {
    this.#stream = new Stream(
      {
        url: () => address('/v1/projects/{project}/environments/{environment}/logs', this.#path, { ...this.#filter, since: undefined, follow: true }),
        silenceMs: SILENCE_MS,
        lastEventId: this.lines.at(-1)?.id ?? null,
        onOpen: () => (this.follows = 'live'),
        onLost: () => (this.follows = 'lost'),
        onRefused: (response) => {
          this.follows = 'lost';
          if (response.status === 401) credentials.ended();
        },
        onEvent: (event) => {
          if (event.name === 'line') this.#take(JSON.parse(event.data) as LogLine);
          else if (event.name === 'gap') this.skipped += (JSON.parse(event.data) as { lines: number }).lines;
        },
      },
      { fetch: (url, init) => transport.fetch(url, init), setTimeout: (run, ms) => window.setTimeout(run, ms), clearTimeout: (timer) => window.clearTimeout(timer), random: Math.random },
    );
  }

  #take(line: LogLine): void {
    this.#waiting.push(line);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      const lines = [...this.lines, ...this.#waiting];
      this.#waiting = [];
      if (lines.length > MOST_LINES) this.more = true;
      this.lines = lines.length > MOST_LINES ? lines.slice(lines.length - MOST_LINES) : lines;
    });
  }

}
