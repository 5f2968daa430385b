//! How states look: a tone and a sign, besides the word. Pure.

import type { IconName } from './Icon.svelte';

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'plain';

export interface Look {
  tone: Tone;
  icon: IconName;
  spin?: boolean;
}

const LOOKS: Record<string, Look> = {
  // Environments
  running: { tone: 'good', icon: 'check' },
  deploying: { tone: 'info', icon: 'spinner', spin: true },
  degraded: { tone: 'warn', icon: 'alert' },
  crashed: { tone: 'bad', icon: 'crash' },
  paused: { tone: 'plain', icon: 'pause' },
  empty: { tone: 'plain', icon: 'dot' },
  destroying: { tone: 'warn', icon: 'trash' },
  stopped: { tone: 'bad', icon: 'coins' },
  // Instances
  starting: { tone: 'info', icon: 'spinner', spin: true },
  ready: { tone: 'good', icon: 'check' },
  asleep: { tone: 'plain', icon: 'moon' },
  unhealthy: { tone: 'bad', icon: 'alert' },
  draining: { tone: 'plain', icon: 'down' },
  frozen: { tone: 'plain', icon: 'snow' },
  exited: { tone: 'plain', icon: 'close' },
  // Deployments and releases
  pending: { tone: 'plain', icon: 'clock' },
  releasing: { tone: 'info', icon: 'spinner', spin: true },
  canary: { tone: 'info', icon: 'dot' },
  holding: { tone: 'info', icon: 'pause' },
  switching: { tone: 'info', icon: 'spinner', spin: true },
  live: { tone: 'good', icon: 'check' },
  retired: { tone: 'plain', icon: 'clock' },
  failed: { tone: 'bad', icon: 'crash' },
  superseded: { tone: 'plain', icon: 'chevron' },
  // Tasks
  queued: { tone: 'plain', icon: 'clock' },
  done: { tone: 'good', icon: 'check' },
  // Certificates
  valid: { tone: 'good', icon: 'check' },
  issuing: { tone: 'info', icon: 'spinner', spin: true },
  waiting: { tone: 'warn', icon: 'clock' },
  limited: { tone: 'warn', icon: 'clock' },
  failing: { tone: 'bad', icon: 'crash' },
  none: { tone: 'plain', icon: 'dot' },
  // People, invoices, help
  active: { tone: 'good', icon: 'check' },
  suspended: { tone: 'bad', icon: 'pause' },
  draft: { tone: 'plain', icon: 'edit' },
  final: { tone: 'good', icon: 'check' },
  credited: { tone: 'plain', icon: 'undo' },
  open: { tone: 'warn', icon: 'clock' },
  answered: { tone: 'info', icon: 'check' },
  closed: { tone: 'plain', icon: 'check' },
  refused: { tone: 'warn', icon: 'alert' },
};

/** A state that is not known here looks plain. */
export function lookOf(state: string, group?: string): Look {
  if (group === 'task' && state === 'running') return { tone: 'info', icon: 'spinner', spin: true };
  return LOOKS[state] ?? { tone: 'plain', icon: 'dot' };
}
