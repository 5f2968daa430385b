//! Addresses of the pages. Pure.

/** Each page with its address. What is in `{…}` is filled in. */
export const ROUTES = {
  overview: '/',
  signIn: '/sign-in',
  setup: '/welcome',
  invitation: '/invitation',
  passwordReset: '/password-reset',
  newProject: '/new',
  costs: '/costs',
  invoices: '/costs/invoices',
  activity: '/activity',
  audit: '/activity/audit',
  task: '/tasks/{task}',
  people: '/people',
  settings: '/settings',
  tokens: '/settings/tokens',
  help: '/help',
  helpRequest: '/help/{request}',
  project: '/projects/{project}',
  projectCosts: '/projects/{project}/costs',
  environment: '/projects/{project}/{environment}',
  releases: '/projects/{project}/{environment}/releases',
  logs: '/projects/{project}/{environment}/logs',
  charts: '/projects/{project}/{environment}/charts',
  variables: '/projects/{project}/{environment}/variables',
  domains: '/projects/{project}/{environment}/domains',
  files: '/projects/{project}/{environment}/files',
  volume: '/projects/{project}/{environment}/files/{volume}',
  terminal: '/projects/{project}/{environment}/terminal',
  deploy: '/projects/{project}/{environment}/deploy',
  environmentSettings: '/projects/{project}/{environment}/settings',
} as const;

export type Page = keyof typeof ROUTES;

type Names<P> = P extends `${string}{${infer N}}${infer Rest}` ? N | Names<Rest> : never;
export type Parameters<P extends Page> = Record<Names<(typeof ROUTES)[P]>, string>;

export interface Match {
  page: Page;
  parameters: Record<string, string>;
}

/** Which page an address is of; `null` if of none. Words that are fixed win over what is filled in. */
export function match(path: string): Match | null {
  const parts = split(path);
  let best: { match: Match; fixed: number } | null = null;
  for (const [page, pattern] of Object.entries(ROUTES) as [Page, string][]) {
    const found = fit(split(pattern), parts);
    if (found && (!best || found.fixed > best.fixed)) best = { match: { page, parameters: found.parameters }, fixed: found.fixed };
  }
  return best?.match ?? null;
}

function fit(pattern: string[], parts: string[]): { parameters: Record<string, string>; fixed: number } | null {
  if (pattern.length !== parts.length) return null;
  const parameters: Record<string, string> = {};
  let fixed = 0;
  for (const [index, wanted] of pattern.entries()) {
    const part = parts[index] ?? '';
    if (wanted.startsWith('{')) {
      const value = decoded(part);
      if (value === null) return null;
      parameters[wanted.slice(1, -1)] = value;
    } else if (wanted === part) fixed += 1;
    else return null;
  }
  return { parameters, fixed };
}

function split(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

/** The address of a page. Empty values of the query are left out. */
export function href<P extends Page>(page: P, ...[parameters, query]: [keyof Parameters<P>] extends [never] ? [parameters?: Record<string, never>, query?: Search] : [parameters: Parameters<P>, query?: Search]): string {
  const values = (parameters ?? {}) as Record<string, string>;
  const path = ROUTES[page].replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
  const search = searchText(query ?? {});
  return search ? `${path}?${search}` : path;
}

export type Search = Record<string, string | number | boolean | null | undefined>;

/** A query as text; what is empty, `false` or absent is left out. */
export function searchText(query: Search): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === '' || value === false) continue;
    search.set(name, String(value));
  }
  return search.toString();
}

/** Whether this is an address of this console to come back to, and of nobody else's host. */
export function isOwnPath(text: string | null): text is string {
  return text !== null && /^\/(?![/\\])/.test(text) && !/[\u0000-\u001f\\]/.test(text);
}
