//! Short news at the edge of the page, read out by screen readers.

export interface Toast {
  id: number;
  text: string;
  tone: 'good' | 'bad';
  /** Where to look on. */
  link?: { href: string; text: string } | undefined;
}

const SHOWN_MS = 8000;
const MOST = 4;

let toasts = $state.raw<Toast[]>([]);
let count = 0;

/** Those that are shown, oldest first. */
export function shownToasts(): Toast[] {
  return toasts;
}

/** Shows news for some seconds; bad ones until they are closed. */
export function tell(text: string, options: { tone?: 'good' | 'bad'; link?: Toast['link'] } = {}): void {
  count += 1;
  const toast: Toast = { id: count, text, tone: options.tone ?? 'good', link: options.link };
  toasts = [...toasts, toast].slice(-MOST);
  if (toast.tone === 'good') setTimeout(() => dismiss(toast.id), SHOWN_MS);
}

/** Closes one. */
export function dismiss(id: number): void {
  toasts = toasts.filter((toast) => toast.id !== id);
}
