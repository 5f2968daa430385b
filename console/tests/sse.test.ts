import { describe, expect, it } from 'vitest';
import { EventParser, retryMs, Stream, type ServerEvent, type World } from '../src/lib/sse';

describe('the parser', () => {
  it('gives the same events however the text is cut', () => {
    const text = ': hello\r\nevent: line\r\nid: 7\r\ndata: {"a":1}\r\n\r\ndata: one\ndata:  two\n\nevent: empty\n\nid: 8\rdata: x\r\r';
    const whole = new EventParser().push(text);
    expect(whole).toEqual([
      { name: 'line', data: '{"a":1}', id: '7' },
      { name: 'message', data: 'one\n two', id: '7' },
      { name: 'message', data: 'x', id: '8' },
    ]);
    for (let cut = 1; cut < text.length; cut += 1) {
      const parser = new EventParser();
      expect([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))], `cut at ${cut}`).toEqual(whole);
    }
    const letters = new EventParser();
    expect([...text].flatMap((letter) => letters.push(letter))).toEqual(whole);
  });
});

describe('the pause before the next attempt', () => {
  it('doubles up to 15 s and never is 0', () => {
    expect(retryMs(0, 1)).toBe(500);
    expect(retryMs(3, 1)).toBe(4000);
    expect(retryMs(50, 1)).toBe(15_000);
    expect(retryMs(50, 0)).toBe(7500);
  });
});

/** A server whose connections are written by the test, and timers that run when it says so. */
class Bench implements World {
  requests: Headers[] = [];
  answers: (Response | Error | null)[] = [];
  timers = new Map<number, { run: () => void; ms: number }>();
  #count = 0;
  random = () => 1;

  fetch = async (_: string, init: RequestInit): Promise<Response> => {
    this.requests.push(new Headers(init.headers));
    const answer = this.answers.shift();
    if (answer instanceof Error) throw answer;
    return answer ?? (await new Promise<Response>(() => undefined));
  };

  setTimeout = (run: () => void, ms: number): number => {
    this.#count += 1;
    this.timers.set(this.#count, { run, ms });
    return this.#count;
  };

  clearTimeout = (timer: number): void => void this.timers.delete(timer);

  /** Runs the timers of this length. */
  fire(ms: number): void {
    for (const [id, timer] of [...this.timers]) {
      if (timer.ms !== ms) continue;
      this.timers.delete(id);
      timer.run();
    }
  }
}

const SILENCE_MS = 7000;
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
const events = (text: string) => new Response(text, { headers: { 'content-type': 'text/event-stream' } });

function followed(bench: Bench) {
  const seen: ServerEvent[] = [];
  const lost: number[] = [];
  const refused: number[] = [];
  const stream = new Stream({ url: () => '/v1/x', silenceMs: SILENCE_MS, onEvent: (event) => seen.push(event), onLost: (ms) => lost.push(ms), onRefused: (response) => refused.push(response.status) }, bench);
  return { stream, seen, lost, refused };
}

describe('a stream', () => {
  it('goes on behind the last event when it breaks off', async () => {
    const bench = new Bench();
    bench.answers = [events('id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: cut'), events('id: 3\ndata: c\n\n')];
    const { stream, seen, lost } = followed(bench);
    await settle();
    expect(seen.map((event) => event.data)).toEqual(['a', 'b']);
    expect(lost).toEqual([500]);
    bench.fire(500);
    await settle();
    expect(bench.requests.map((headers) => headers.get('last-event-id'))).toEqual([null, '2']);
    expect(seen.map((event) => event.data)).toEqual(['a', 'b', 'c']);
    stream.close();
  });

  it('gives up a connection that is silent, although it has not ended', async () => {
    const bench = new Bench();
    bench.answers = [new Response(new ReadableStream()), null];
    const { stream, lost } = followed(bench);
    await settle();
    expect(lost).toEqual([]);
    bench.fire(SILENCE_MS);
    await settle();
    expect(lost).toHaveLength(1);
    stream.close();
  });

  it('waits longer with every failure, and at once tries again when asked to', async () => {
    const bench = new Bench();
    bench.answers = [new Error('refused'), new Response('', { status: 503 }), null];
    const { stream, lost } = followed(bench);
    await settle();
    bench.fire(500);
    await settle();
    expect(lost).toEqual([500, 1000]);
    stream.hurry();
    await settle();
    expect(bench.requests).toHaveLength(3);
    stream.close();
  });

  it('does not ask again what was refused', async () => {
    const bench = new Bench();
    bench.answers = [new Response('', { status: 403 })];
    const { refused, lost } = followed(bench);
    await settle();
    expect(refused).toEqual([403]);
    expect(lost).toEqual([]);
    expect([...bench.timers.values()]).toEqual([]);
  });

  it('says nothing any more once it is closed', async () => {
    const bench = new Bench();
    bench.answers = [events('data: a\n\n')];
    const { stream, seen, lost } = followed(bench);
    stream.close();
    await settle();
    expect([seen, lost]).toEqual([[], []]);
  });
});
