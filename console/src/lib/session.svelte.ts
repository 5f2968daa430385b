//! Who is signed in, and what she may.

import { type Problem, asProblem, call, credentials } from '../api/client';
import type { Grant, Me, Role, SessionState } from '../api/endpoints';
import { choose, useLanguage } from './i18n.svelte';
import { live } from './live.svelte';
import { covers } from './scopes';

let state = $state.raw<SessionState | null>(null);
let problem = $state.raw<Problem | null>(null);
let table = $state.raw<Map<Role, Set<string>>>(new Map());
let expired = $state(false);

export const session = {
  /** `null` until it is known. */
  get state(): SessionState | null {
    return state;
  },
  /** Why it is not known. */
  get problem(): Problem | null {
    return problem;
  },
  get me(): Me | null {
    return state?.me ?? null;
  },
  /** The session has ended while she was working; what she wrote is still on the page. */
  get expired(): boolean {
    return expired;
  },
  /** Whether she may do this, by operation id, in a scope. Control decides; this only shows. */
  may(operation: string, scope: string): boolean {
    return this.grants.some((grant) => covers(grant.scope, scope) && table.get(grant.role)?.has(operation) === true);
  },
  /** Whether she may do it anywhere. */
  mayAnywhere(operation: string): boolean {
    return this.grants.some((grant) => table.get(grant.role)?.has(operation) === true);
  },
  get grants(): Grant[] {
    return state?.me?.may ?? [];
  },
};

/** Finds out who is signed in. */
export async function loadSession(): Promise<void> {
  try {
    await takeSession(await call('GET /v1/session'));
  } catch (error) {
    problem = asProblem(error);
  }
}

/** Goes on with this session. */
export async function takeSession(next: SessionState): Promise<void> {
  if (state && state.version !== next.version) location.reload();
  credentials.csrf = next.csrf ?? null;
  if (next.state === 'signed-in') {
    const { roles } = await call('GET /v1/roles');
    table = new Map(roles.map((entry) => [entry.role, new Set(entry.may)]));
    const own = next.me?.person.language;
    if (own) await useLanguage(choose([own]));
  }
  state = next;
  problem = null;
  expired = false;
  if (next.state === 'signed-in') live.retry();
}

/** Puts what she has changed about herself in. */
export function takeMe(me: Me): void {
  if (state) state = { ...state, me };
}

/** A new CSRF token, after the password was changed. */
export function takeCsrf(csrf: string): void {
  credentials.csrf = csrf;
  if (state) state = { ...state, csrf };
}

/** Ends the session. */
export async function signOut(): Promise<void> {
  await call('DELETE /v1/session');
  location.assign('/');
}

credentials.renew = async () => {
  const next = await call('GET /v1/session');
  if (next.state !== 'signed-in') expired = true;
  else if (next.me?.person.id === state?.me?.person.id) takeCsrf(next.csrf ?? '');
  // Somebody else has signed in in another tab: what is shown here is not hers, and is not done as her.
  else location.reload();
};
credentials.ended = () => {
  if (state?.state === 'signed-in') expired = true;
};
