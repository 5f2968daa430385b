//! Answers in place of control's, for stories.

import { transport } from '../api/client';
import type { Answer, Body, Key, Schemas } from '../api/endpoints';

export interface Call<K extends Key = Key> {
  path: Record<string, string>;
  query: URLSearchParams;
  body: Body<K>;
}

/** An answer, or what makes one; a `Response` goes out as it is. */
export type Fake<K extends Key> = Answer<K> | Response | ((call: Call<K>) => Answer<K> | Response | Promise<Answer<K> | Response>);

export type Fakes = { [K in Key]?: Fake<K> };

export interface World {
  fakes: Fakes;
  /** Whole states by topic. */
  live: Record<string, unknown>;
  /** `silent`: nothing has come yet; `lost`: it came and then the connection went. */
  connection: 'live' | 'silent' | 'lost';
  /** Topics that are refused. */
  refused: Record<string, Schemas['Problem']>;
  /** The instant of everything live. */
  at: string;
  /** Lines of followed tasks and logs, in server-sent events. */
  streams: Record<string, { event: string; id?: string; data: unknown }[]>;
}

/** An error as control says it. */
export function problem(status: number, type: string, title: string, more: Partial<Schemas['Problem']> = {}): Response {
  return new Response(JSON.stringify({ status, type, title, ...more }), { status, headers: { 'content-type': 'application/problem+json' } });
}

/** Never answers. */
export function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** Puts the world in the place of the outside. */
export function install(world: World): void {
  let streams = 0;
  transport.fetch = async (input, init = {}) => {
    const url = new URL(input, location.origin);
    const accept = new Headers(init.headers).get('accept') ?? '';
    if (url.pathname === '/v1/live') {
      streams += 1;
      if (world.connection === 'lost' && streams > 1) throw new TypeError('no connection');
      return liveStream(world, url.searchParams.getAll('topic'), init.signal ?? null);
    }
    if (accept.includes('event-stream')) return eventStream(world.streams[url.pathname] ?? [], init.signal ?? null);
    return await answer(world, init.method ?? 'GET', url, init.body);
  };
  transport.socket = () => new FakeSocket() as unknown as WebSocket;
}

async function answer(world: World, method: string, url: URL, body: unknown): Promise<Response> {
  for (const [key, fake] of Object.entries(world.fakes)) {
    const [wanted, template = ''] = key.split(' ');
    const path = wanted === method ? fit(template, url.pathname) : null;
    if (!path) continue;
    const parsed: unknown = typeof body === 'string' ? JSON.parse(body) : body;
    const made: unknown = typeof fake === 'function' ? await (fake as (call: object) => unknown)({ path, query: url.searchParams, body: parsed }) : fake;
    if (made instanceof Response) return made.clone();
    if (made === undefined) return new Response(null, { status: 204 });
    if (typeof made === 'string') return new Response(made, { headers: { 'content-type': 'text/plain', etag: '"1"' } });
    return new Response(JSON.stringify(made), { headers: { 'content-type': 'application/json' } });
  }
  return problem(404, 'not-found', `nothing answers ${method} ${url.pathname} in this story`);
}

function fit(template: string, path: string): Record<string, string> | null {
  const [wanted, parts] = [template.split('/'), path.split('/')];
  if (wanted.length !== parts.length) return null;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = decodeURIComponent(parts[index] ?? '');
    if (part.startsWith('{')) found[part.slice(1, -1)] = value;
    else if (part !== value) return null;
  }
  return found;
}

function liveStream(world: World, topics: string[], signal: AbortSignal | null): Response {
  const events: { event: string; data: unknown }[] = [];
  if (world.connection !== 'silent') {
    for (const topic of topics) {
      const refusal = world.refused[topic] ?? world.refused['*'];
      if (refusal) events.push({ event: 'refused', data: { topic, problem: refusal } });
      else if (topic in world.live) events.push({ event: 'state', data: { topic, at: world.at, data: world.live[topic] } });
    }
  }
  if (world.connection === 'live') events.push({ event: 'tick', data: { at: world.at } });
  return eventStream(events, signal, world.connection === 'lost');
}

const SIGN_OF_LIFE_MS = 2000;

function eventStream(events: { event: string; id?: string; data: unknown }[], signal: AbortSignal | null, ends = false): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const text = events.map(({ event, id, data }) => `event: ${event}\n${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(data)}\n\n`).join('');
      if (text) controller.enqueue(encoder.encode(text));
      if (ends) {
        controller.close();
        return;
      }
      const timer = setInterval(() => controller.enqueue(encoder.encode(': \n\n')), SIGN_OF_LIFE_MS);
      signal?.addEventListener('abort', () => {
        clearInterval(timer);
        controller.close();
      });
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
}

/** A shell that greets and repeats what is typed. */
class FakeSocket extends EventTarget {
  binaryType = 'arraybuffer';
  readyState = 1;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: (() => void) | null = null;

  constructor() {
    super();
    setTimeout(() => this.#say('\u001b[1;32mapp@web-3f9a2c\u001b[0m:\u001b[34m/app\u001b[0m$ ls\r\nProcfile  app.py  requirements.txt  \u001b[34mstatic\u001b[0m\r\n\u001b[1;32mapp@web-3f9a2c\u001b[0m:\u001b[34m/app\u001b[0m$ '), 50);
  }

  send(data: unknown): void {
    if (data instanceof Uint8Array) this.#say(new TextDecoder().decode(data).replace('\r', '\r\n'));
  }

  close(): void {
    this.readyState = 3;
    this.onclose?.();
  }

  #say(text: string): void {
    const bytes = new TextEncoder().encode(text);
    const frame = new Uint8Array(bytes.length + 1);
    frame[0] = 1;
    frame.set(bytes, 1);
    this.onmessage?.(new MessageEvent('message', { data: frame.buffer }));
  }
}
