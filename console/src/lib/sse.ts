//! Server-sent events over `fetch`: unlike `EventSource` it says why it failed, notices a
//! connection that is dead without having ended, and sends `Last-Event-ID` for us to test.

export interface ServerEvent {
  name: string;
  data: string;
  id: string | null;
}

/** Reads the format of server-sent events out of pieces of text. Pure. */
export class EventParser {
  #rest = '';
  #name = '';
  #data: string[] = [];
  #id: string | null = null;
  #afterCarriageReturn = false;

  /** The events that this piece completes. */
  push(piece: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    // CR, LF and CRLF end a line; a CRLF may come in two pieces.
    if (this.#afterCarriageReturn && piece.startsWith('\n')) piece = piece.slice(1);
    if (piece !== '') this.#afterCarriageReturn = piece.endsWith('\r');
    this.#rest += piece;
    const lines = this.#rest.split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): ServerEvent | null {
    if (line === '') {
      const event = { name: this.#name || 'message', data: this.#data.join('\n'), id: this.#id };
      const complete = this.#data.length > 0;
      this.#name = '';
      this.#data = [];
      return complete ? event : null;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'event') this.#name = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    return null;
  }
}

/** Time and chance, so that tests need neither. */
export interface World {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  setTimeout: (run: () => void, ms: number) => number;
  clearTimeout: (timer: number) => void;
  random: () => number;
}

export interface Follow {
  /** Anew for every attempt. */
  url: () => string;
  onEvent: (event: ServerEvent) => void;
  /** The connection stands. */
  onOpen?: () => void;
  /** It is gone and will be tried again after `retryMs`. */
  onLost?: (retryMs: number) => void;
  /** The server refused for good (a status from 400 to 499); it is not tried again. */
  onRefused?: (response: Response) => void;
  /** So long without a byte means that it is dead. */
  silenceMs: number;
  /** From where to go on the first time. */
  lastEventId?: string | null;
}

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

/** Half a second, doubled with every failure, 15 s at most, and between half and all of that. */
export function retryMs(failures: number, random: number): number {
  const most = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
  return most / 2 + (most / 2) * random;
}

/** A stream that is followed until it is closed. */
export class Stream {
  #closed = false;
  #failures = 0;
  #lastEventId: string | null;
  #abort: AbortController | null = null;
  #retryTimer: number | null = null;

  constructor(
    readonly follow: Follow,
    readonly world: World,
  ) {
    this.#lastEventId = follow.lastEventId ?? null;
    void this.#run();
  }

  /** Ends it; no event comes afterwards. */
  close(): void {
    this.#closed = true;
    this.#abort?.abort();
    if (this.#retryTimer !== null) this.world.clearTimeout(this.#retryTimer);
  }

  /** Does not wait any longer before the next attempt. */
  hurry(): void {
    if (this.#retryTimer === null || this.#closed) return;
    this.world.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    void this.#run();
  }

  async #run(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (this.#lastEventId !== null) headers['last-event-id'] = this.#lastEventId;
      const response = await this.#within(
        this.world.fetch(this.follow.url(), { headers, credentials: 'same-origin', signal: abort.signal }),
      );
      if (response.status >= 400 && response.status < 500 && response.status !== 429) {
        if (!this.#closed) this.follow.onRefused?.(response);
        return;
      }
      if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
      if (this.#closed) return;
      this.follow.onOpen?.();
      await this.#read(response.body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>).getReader());
    } catch {
      // Why it broke does not matter: it is tried again.
    }
    abort.abort();
    if (this.#closed) return;
    const wait = retryMs(this.#failures, this.world.random());
    this.#failures += 1;
    this.#retryTimer = this.world.setTimeout(() => {
      this.#retryTimer = null;
      void this.#run();
    }, wait);
    this.follow.onLost?.(wait);
  }

  async #read(reader: ReadableStreamDefaultReader<string>): Promise<void> {
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await this.#within(reader.read());
      if (done || this.#closed) return;
      for (const event of parser.push(value)) {
        if (this.#closed) return;
        this.#failures = 0;
        this.#lastEventId = event.id ?? this.#lastEventId;
        this.follow.onEvent(event);
      }
    }
  }

  /** Fails after a silence; the rest is aborted with the connection. */
  async #within<T>(work: Promise<T>): Promise<T> {
    let timer: number | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = this.world.setTimeout(() => reject(new Error('silence')), this.follow.silenceMs);
    });
    try {
      return await Promise.race([work, silence]);
    } finally {
      if (timer !== undefined) this.world.clearTimeout(timer);
    }
  }
}
