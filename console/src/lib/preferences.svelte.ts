//! What a person prefers in this browser. Lost storage is no trouble.

const THEME = 'weir-theme';
const LANGUAGE = 'weir-language';

export type Theme = 'system' | 'light' | 'dark';

let theme = $state<Theme>(readTheme());

function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function write(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing goes on with what it was told for this page.
  }
}

function readTheme(): Theme {
  const kept = read(THEME);
  return kept === 'light' || kept === 'dark' ? kept : 'system';
}

/** Light, dark, or as the system is. */
export function currentTheme(): Theme {
  return theme;
}

/** Chooses and remembers one. */
export function setTheme(next: Theme): void {
  theme = next;
  write(THEME, next);
  applyTheme();
}

/** Shows what is chosen. */
export function applyTheme(): void {
  const root = document.documentElement;
  if (theme === 'system') delete root.dataset['theme'];
  else root.dataset['theme'] = theme;
}

/** The language that was chosen in this browser. */
export function preferredLanguage(): string | null {
  return read(LANGUAGE);
}

/** Remembers it. */
export function rememberLanguage(language: string): void {
  write(LANGUAGE, language);
}
