//! Requests to the API of the Weir that this page came from.
//!
//! What changes something carries an `Idempotency-Key`, so it can be said again when the answer
//! was lost: a change is done once, even over a bad connection.

import type { Answer, Body, Key, Path, Query, Schemas } from './endpoints';

export type Problem = Schemas['Problem'];

/** An answer that is an error, or none at all (`type` is `unreachable` then). */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';

  constructor(
    readonly problem: Problem,
    /** After so long it may be tried again. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(problem.title);
  }
}

/** The ways to the outside; the stories and tests put others in their place. */
export const transport = {
  fetch: (input: string, init?: RequestInit): Promise<Response> => fetch(input, init),
  socket: (url: string): WebSocket => new WebSocket(url),
};

/** What the session adds to requests; set by `session`. */
export const credentials = {
  csrf: null as string | null,
  /** Fetches the session anew, when its CSRF token was refused. */
  renew: async (): Promise<void> => {},
  /** The session has ended. */
  ended: (): void => {},
};

export interface Options {
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
}

type Parts<K extends Key> = ([keyof Path<K>] extends [never] ? { path?: undefined } : { path: Path<K> }) &
  ([Query<K>] extends [never] ? { query?: undefined } : Record<string, never> extends Query<K> ? { query?: Query<K> } : { query: Query<K> }) &
  ([Body<K>] extends [never] ? { body?: undefined } : { body: Body<K> }) &
  Options;

/** Requests that may be left out where nothing is needed. */
type Arguments<K extends Key> = Record<string, never> extends Parts<K> ? [parts?: Parts<K>] : [parts: Parts<K>];

const TRIES = 3;
const PAUSE_MS = 400;
/** So long an answer may take; a part of an upload takes longer over a slow line. */
const ANSWER_MS = 60_000;
const PART_MS = 600_000;
/** So long is waited for the first of two requests with the same key. */
const SAME_KEY_MS = 120_000;

/** Asks, and gives the answer. Throws an `ApiProblem`. */
export async function call<K extends Key>(key: K, ...[parts]: Arguments<K>): Promise<Answer<K>> {
  const response = await send(key, parts ?? {});
  if (response.status === 204) return undefined as Answer<K>;
  const kind = response.headers.get('content-type') ?? '';
  return (kind.includes('json') ? await response.json() : await response.text()) as Answer<K>;
}

/** Like `call`, for who wants headers or the bytes. */
export async function send(key: Key, parts: LooseParts): Promise<Response> {
  const [method = 'GET', template = ''] = key.split(' ');
  const url = address(template, parts.path, parts.query);
  const headers = new Headers(parts.headers);
  const init: RequestInit = { method, headers, credentials: 'same-origin', signal: parts.signal ?? null };
  if (parts.body instanceof Blob) {
    init.body = parts.body;
    headers.set('content-type', 'application/octet-stream');
  } else if (parts.body !== undefined) {
    init.body = JSON.stringify(parts.body);
    headers.set('content-type', 'application/json');
  }
  if (!headers.has('accept')) headers.set('accept', 'application/json');
  if (method !== 'GET') headers.set('idempotency-key', randomKey());
  return exchange(url, init, headers);
}

interface LooseParts extends Options {
  path?: Record<string, string | number> | undefined;
  query?: object | undefined;
  body?: unknown;
}

async function exchange(url: string, init: RequestInit, headers: Headers): Promise<Response> {
  const signal = init.signal;
  const began = Date.now();
  for (let attempt = 1; ; attempt += 1) {
    const inTime = AbortSignal.timeout(init.body instanceof Blob ? PART_MS : ANSWER_MS);
    init.signal = signal ? AbortSignal.any([signal, inTime]) : inTime;
    if (init.method !== 'GET' && credentials.csrf) headers.set('x-weir-csrf', credentials.csrf);
    let response: Response;
    try {
      response = await transport.fetch(url, init);
    } catch (error) {
      if (signal?.aborted) throw error;
      if (attempt >= TRIES) throw unreachable();
      await pause(PAUSE_MS * attempt);
      continue;
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.problem.type === 'csrf' && attempt === 1) {
      await credentials.renew();
      continue;
    }
    // What we said first is still worked on: its answer was lost, and comes with the next.
    if (problem.problem.type === 'idempotency-in-progress' && problem.retryAfterMs && Date.now() - began < SAME_KEY_MS) {
      await pause(problem.retryAfterMs);
      continue;
    }
    if (problem.problem.status === 401 && problem.problem.type === 'signed-out') credentials.ended();
    throw problem;
  }
}

/** The address with path and query filled in. */
export function address(template: string, path: Record<string, string | number> = {}, query: object = {}): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(path[name] ?? '')));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '') continue;
    for (const one of Array.isArray(value) ? value : [value]) search.append(name, String(one));
  }
  const text = search.toString();
  return text ? `${filled}?${text}` : filled;
}

async function problemOf(response: Response): Promise<ApiProblem> {
  const seconds = Number(response.headers.get('retry-after'));
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : null;
  const body: unknown = await response.json().catch(() => null);
  const known = body && typeof body === 'object' && 'title' in body ? (body as Problem) : null;
  return new ApiProblem(known ?? { type: 'unknown', title: `${response.status} ${response.statusText}`.trim(), status: response.status }, retryAfterMs);
}

function unreachable(): ApiProblem {
  return new ApiProblem({ type: 'unreachable', title: '', status: 0 });
}

/** 128 random bits in hex. `crypto.randomUUID` is missing where the page came without TLS. */
export function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Whatever was thrown, as a problem to show. */
export function asProblem(error: unknown): Problem {
  if (error instanceof ApiProblem) return error.problem;
  return { type: 'unknown', title: error instanceof Error ? error.message : String(error), status: 0 };
}
