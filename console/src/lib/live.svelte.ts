//! What is shown live: whole states by topic, over one stream, with the instant up to which they
//! are known to be true.
//!
//! Nothing is ever shown as current that is not: as soon as the stream is silent, `status` says
//! so and `asOf` stands still. The stream is closed while the tab is hidden, because browsers
//! have few connections for each host; on return everything is fetched anew.

import { SvelteMap } from 'svelte/reactivity';
import { address, transport } from '../api/client';
import type { LiveState, LiveTopics, Schemas } from '../api/endpoints';
import { type ServerEvent, Stream } from './sse';

type Problem = Schemas['Problem'];

interface Entry {
  at: string;
  data: unknown;
}

/** Comes every 2 s from the server. */
const SILENCE_MS = 7000;
/** So long a hidden tab keeps its stream. */
const HIDDEN_MS = 5000;
/** Topics of one page come and go together. */
const SETTLE_MS = 10;

const states = new SvelteMap<string, Entry>();
const refusals = new SvelteMap<string, Problem>();
const wanted = new Map<string, number>();

let status = $state<'idle' | 'connecting' | 'live' | 'lost'>('idle');
let asOf = $state<string | null>(null);
let stream: Stream | null = null;
let settling: ReturnType<typeof setTimeout> | null = null;
let hiding: ReturnType<typeof setTimeout> | null = null;
let asked = '';

export const live = {
  /** `lost`: what is shown is as of `asOf`. */
  get status() {
    return status;
  },
  /** Everything that is shown was true at this instant. */
  get asOf(): string | null {
    return asOf;
  },
  /** Tries at once to get the connection back. */
  retry(): void {
    if (stream) stream.hurry();
    else if (wanted.size > 0) connect();
  },
};

/** A topic as a component sees it. */
export interface Topic<T> {
  readonly data: T | undefined;
  readonly problem: Problem | undefined;
}

/** Follows a topic while the component lives. `name` is read anew when what it reads changes. */
export function follow<K extends keyof LiveTopics>(kind: K, name?: () => string): Topic<LiveTopics[K]> {
  const topic = $derived(name ? `${kind}:${name()}` : kind);
  $effect(() => {
    const current = topic;
    want(current);
    return () => release(current);
  });
  return {
    get data() {
      return states.get(topic)?.data as LiveTopics[K] | undefined;
    },
    get problem() {
      return refusals.get(topic);
    },
  };
}

function want(topic: string): void {
  wanted.set(topic, (wanted.get(topic) ?? 0) + 1);
  settle();
}

function release(topic: string): void {
  const left = (wanted.get(topic) ?? 1) - 1;
  if (left > 0) wanted.set(topic, left);
  else wanted.delete(topic);
  settle();
}

function settle(): void {
  if (settling) clearTimeout(settling);
  settling = setTimeout(() => {
    settling = null;
    for (const topic of [...states.keys(), ...refusals.keys()]) {
      if (wanted.has(topic)) continue;
      states.delete(topic);
      refusals.delete(topic);
    }
    const topics = [...wanted.keys()].sort().join(' ');
    if (topics !== asked) connect();
  }, SETTLE_MS);
}

function connect(): void {
  const topics = [...wanted.keys()].sort();
  asked = topics.join(' ');
  stream?.close();
  stream = null;
  if (topics.length === 0) {
    status = 'idle';
    return;
  }
  if (status !== 'live') status = 'connecting';
  stream = new Stream(
    {
      url: () => address('/v1/live', {}, { topic: topics }),
      silenceMs: SILENCE_MS,
      onEvent: receive,
      onLost: () => {
        status = 'lost';
      },
      onRefused: (response) => void refused(topics, response),
    },
    {
      fetch: (url, init) => transport.fetch(url, init),
      setTimeout: (run, ms) => window.setTimeout(run, ms),
      clearTimeout: (timer) => window.clearTimeout(timer),
      random: Math.random,
    },
  );
}

function receive(event: ServerEvent): void {
  if (event.name === 'state') {
    const { topic, at, data } = JSON.parse(event.data) as LiveState;
    if (!wanted.has(topic)) return;
    states.set(topic, { at, data });
    refusals.delete(topic);
    current(at);
  } else if (event.name === 'tick') {
    current((JSON.parse(event.data) as { at: string }).at);
  } else if (event.name === 'refused') {
    const { topic, problem } = JSON.parse(event.data) as { topic: string; problem: Problem };
    states.delete(topic);
    if (wanted.has(topic)) refusals.set(topic, problem);
  } else if (event.name === 'end' && (JSON.parse(event.data) as { reason: string }).reason === 'signed-out') {
    stream?.close();
    stream = null;
    status = 'lost';
    refusedHook({ type: 'signed-out', title: '', status: 401 });
  }
}

function current(at: string): void {
  status = 'live';
  if (asOf === null || at > asOf) asOf = at;
}

async function refused(topics: string[], response: Response): Promise<void> {
  const fallback: Problem = { type: 'unknown', title: `${response.status} ${response.statusText}`.trim(), status: response.status };
  const problem = (await response.json().catch(() => fallback)) as Problem;
  stream = null;
  status = 'lost';
  for (const topic of topics) if (!states.has(topic)) refusals.set(topic, problem);
  refusedHook(problem);
}

let refusedHook: (problem: Problem) => void = () => {};

/** Watches the tab and the network; `onRefused` learns when the whole stream was refused. */
export function startLive(onRefused: (problem: Problem) => void): void {
  refusedHook = onRefused;
  document.addEventListener('visibilitychange', () => {
    if (hiding) clearTimeout(hiding);
    hiding = null;
    if (!document.hidden) {
      if (!stream && wanted.size > 0) {
        status = 'lost';
        connect();
      }
      return;
    }
    hiding = setTimeout(() => {
      stream?.close();
      stream = null;
      if (wanted.size > 0) status = 'lost';
    }, HIDDEN_MS);
  });
  addEventListener('online', () => stream?.hurry());
  addEventListener('pageshow', () => stream?.hurry());
}
