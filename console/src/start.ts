//! What has to be there before the first page is drawn.

import './ui/style.css';
import { credentials } from './api/client';
import { choose, useLanguage } from './lib/i18n.svelte';
import { startLive } from './lib/live.svelte';
import { applyTheme, preferredLanguage } from './lib/preferences.svelte';
import { startRouter } from './lib/router.svelte';
import { loadSession } from './lib/session.svelte';

/** Starts everything; `first` is the address of a story. */
export async function start(first?: string): Promise<void> {
  applyTheme();
  startRouter(first);
  startLive((problem) => {
    if (problem.status === 401) credentials.ended();
  });
  await useLanguage(choose([preferredLanguage() ?? '', ...navigator.languages]));
  void loadSession();
}
