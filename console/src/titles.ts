//! What stands in the tab of the browser.

import { t, type TextKey } from './lib/i18n.svelte';
import type { Match } from './lib/routes';

export function titleOf(match: Match | null, state: string | undefined): string {
  if (state !== undefined && state !== 'signed-in' && match?.page !== 'invitation' && match?.page !== 'passwordReset') return `${t(state === 'setup' ? 'setup.title' : 'signIn.title')} · Weir`;
  if (!match) return `${t('missing.title')} · Weir`;
  const { project, environment } = match.parameters;
  const place = project ? (environment ? `${project}/${environment}` : project) : '';
  const name = match.page === 'project' || match.page === 'environment' ? '' : t(`page.${match.page}` as TextKey);
  return [name, place, 'Weir'].filter(Boolean).join(' · ');
}
