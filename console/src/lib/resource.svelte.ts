//! Something that is fetched once, or anew when what it depends on changes.

import { untrack } from 'svelte';
import { asProblem } from '../api/client';
import type { Schemas } from '../api/endpoints';
import { session } from './session.svelte';

/** Younger answers are not fetched again. */
const FRESH_MS = 10_000;

/** What a component sees of it. */
export interface Resource<T> {
  /** Absent until the first answer. */
  readonly data: T | undefined;
  /** What went wrong the last time. */
  readonly problem: Schemas['Problem'] | undefined;
  /** When the answer came, in milliseconds since 1970. */
  readonly at: number | null;
  readonly loading: boolean;
  /** Fetches it again; what is there stays until the answer comes. */
  reload(): Promise<void>;
  /** Puts an answer in that came another way. */
  set(value: T): void;
}

/**
 * Fetches with `load`, which is called anew when what `key` reads has changed; an answer that was
 * overtaken is dropped. With `null` as the key nothing is fetched.
 */
export function resource<T, K>(key: () => K | null, load: (key: K, signal: AbortSignal) => Promise<T>): Resource<T> {
  let data = $state.raw<T>();
  let problem = $state.raw<Schemas['Problem']>();
  let at = $state<number | null>(null);
  let loading = $state(false);
  let abort: AbortController | null = null;

  async function run(wanted: K): Promise<void> {
    abort?.abort();
    const own = new AbortController();
    abort = own;
    loading = true;
    try {
      const answer = await load(wanted, own.signal);
      if (own.signal.aborted) return;
      data = answer;
      problem = undefined;
      at = Date.now();
    } catch (error) {
      if (own.signal.aborted) return;
      problem = asProblem(error);
    } finally {
      if (abort === own) loading = false;
    }
  }

  const identity = $derived(JSON.stringify(key()));
  $effect(() => {
    const text = identity;
    data = undefined;
    problem = undefined;
    const wanted = JSON.parse(text) as K | null;
    if (wanted === null) return;
    untrack(() => void run(wanted));
    return () => abort?.abort();
  });

  // What was refused to a session that had ended is asked for again when there is a new one.
  let expired = false;
  $effect(() => {
    const now = session.expired;
    untrack(() => {
      const wanted = JSON.parse(identity) as K | null;
      if (expired && !now && problem?.status === 401 && wanted !== null) void run(wanted);
    });
    expired = now;
  });

  // Who comes back to a tab, or to the network, sees what is so now.
  $effect(() => {
    const refresh = () => {
      if (document.hidden || at === null || Date.now() - at < FRESH_MS) return;
      const wanted = untrack(() => JSON.parse(identity) as K | null);
      if (wanted !== null) void run(wanted);
    };
    document.addEventListener('visibilitychange', refresh);
    addEventListener('online', refresh);
    return () => {
      document.removeEventListener('visibilitychange', refresh);
      removeEventListener('online', refresh);
    };
  });

  return {
    get data() {
      return data;
    },
    get problem() {
      return problem;
    },
    get at() {
      return at;
    },
    get loading() {
      return loading;
    },
    async reload() {
      const wanted = JSON.parse(identity) as K | null;
      if (wanted !== null) await run(wanted);
    },
    set(value: T) {
      data = value;
      problem = undefined;
      at = Date.now();
    },
  };
}
