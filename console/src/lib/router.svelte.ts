//! Where the page is: the address, the back button, the focus.
//!
//! Ordinary links are ordinary `<a href>`: clicks on them are taken over here, so that opening in
//! a new tab, copying and the context menu work as everywhere.

import { tick } from 'svelte';
import { type Match, type Search, match, searchText } from './routes';

interface Place {
  path: string;
  query: URLSearchParams;
  hash: string;
}

/** How far an entry of the history was scrolled. */
interface Kept {
  scroll: number;
}

let place = $state.raw<Place>(placeOf(new URL('http://localhost/')));
let inMemory = false;
/** Answers whether one may leave; set by pages with something that was not saved. */
let mayLeave: (() => boolean) | null = null;

function placeOf(url: URL): Place {
  return { path: url.pathname, query: url.searchParams, hash: url.hash };
}

const found = $derived<Match | null>(match(place.path));

export const router = {
  get path(): string {
    return place.path;
  },
  get query(): URLSearchParams {
    return place.query;
  },
  get hash(): string {
    return place.hash;
  },
  get match(): Match | null {
    return found;
  },
  /** A parameter of the address; empty if it has none of the name. */
  parameter(name: string): string {
    return found?.parameters[name] ?? '';
  },
};

/** Takes over links and the back button. Stories live in memory, at `first`. */
export function startRouter(first?: string): void {
  inMemory = first !== undefined;
  place = placeOf(new URL(first ?? location.href, location.origin));
  document.addEventListener('click', takeOver);
  if (inMemory) return;
  history.scrollRestoration = 'manual';
  addEventListener('popstate', (event) => {
    place = placeOf(new URL(location.href));
    const kept = (event.state as Kept | null)?.scroll ?? 0;
    void arrive(kept, false);
  });
}

function takeOver(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  const url = new URL(link.href);
  if (url.pathname.startsWith('/v1/') || url.pathname.startsWith('/git/')) return;
  if (url.hash && url.pathname === place.path && url.search === location.search) return;
  event.preventDefault();
  go(url.pathname + url.search + url.hash);
}

/** Goes to an address; one can go back from it unless it replaces the present one. */
export function go(to: string, how: 'push' | 'replace' = 'push'): void {
  if (mayLeave && !mayLeave()) return;
  mayLeave = null;
  const url = new URL(to, location.origin);
  const before = place.path;
  if (!inMemory) {
    if (how === 'push') {
      history.replaceState({ scroll: scrollY } satisfies Kept, '');
      history.pushState({ scroll: 0 } satisfies Kept, '', url);
    } else history.replaceState(history.state, '', url);
  }
  place = placeOf(url);
  if (before !== url.pathname) void arrive(0, true);
}

/** Changes the query of the present address, without leaving the page or moving the focus. */
export function setQuery(change: Search, how: 'push' | 'replace' = 'replace'): void {
  const query = Object.fromEntries(place.query) as Search;
  const text = searchText({ ...query, ...change });
  const url = new URL(place.path + (text ? `?${text}` : '') + place.hash, location.origin);
  if (!inMemory) history[how === 'push' ? 'pushState' : 'replaceState'](history.state, '', url);
  place = placeOf(url);
}

/** Asks before the page is left, until it is left or the answer is taken back with `null`. */
export function guardLeaving(ask: (() => boolean) | null): void {
  mayLeave = ask;
}

/** Scrolls, and tells keyboards and screen readers where they are: at the heading of the page. */
async function arrive(scroll: number, focus: boolean): Promise<void> {
  await tick();
  scrollTo(0, scroll);
  if (!focus) return;
  // The page itself may still be on its way.
  for (let attempt = 0; attempt < 40; attempt += 1) {
    const heading = document.querySelector<HTMLElement>('main h1');
    if (heading) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
