//! What is asked for and takes time: says so, and where to watch it.

import { asProblem } from '../api/client';
import type { Accepted } from '../api/endpoints';
import { t } from './i18n.svelte';
import { href } from './routes';
import { tell } from './toasts.svelte';

/** Tells what became of it, with a way to its task. */
export function tellAccepted(accepted: Pick<Accepted, 'message' | 'task'>): void {
  tell(accepted.message, accepted.task ? { link: { href: href('task', { task: accepted.task }), text: t('task.watch') } } : {});
}

/** Runs it and tells how it went. */
export async function attempt(work: () => Promise<Pick<Accepted, 'message' | 'task'>>): Promise<void> {
  try {
    tellAccepted(await work());
  } catch (error) {
    const problem = asProblem(error);
    const title = problem.type === 'unreachable' ? t('problem.unreachable') : problem.title;
    tell([title, problem.hint].filter(Boolean).join(' '), { tone: 'bad' });
  }
}
