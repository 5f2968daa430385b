//! Every view in the states that it can be in.

import type { Overview, Role } from '../api/endpoints';
import * as data from './data';
import { type Fakes, never, problem, type World } from './fake';

export interface Story {
  id: string;
  /** The address that it is shown at. */
  path: string;
  change?: (world: World) => void;
  /** Done after it is drawn: presses buttons, types. */
  act?: (by: Actor) => Promise<void>;
  /** Gets screenshots in light and dark, on a phone and a desk. */
  main?: boolean;
  /** So much that only drawing it is tried, not the inspection of all of it. */
  large?: boolean;
}

/** What a story can do to the page. */
export interface Actor {
  /** Presses what has this name, exactly or at its beginning. */
  press(name: string): Promise<void>;
  type(label: string, text: string): Promise<void>;
  key(selector: string, key: string): Promise<void>;
  wait(ms: number): Promise<void>;
}

const SHOP = '/projects/shop/production';

/** A Weir in which everything answers. */
export function world(): World {
  const scope = 'shop/production';
  const fakes: Fakes = {
    'GET /v1/session': data.signedIn(),
    'GET /v1/roles': data.roles,
    'GET /v1/projects': [data.project, { ...data.project, id: 'prj_2', name: 'blog' }],
    'GET /v1/projects/{project}': data.project,
    'GET /v1/projects/{project}/environments': data.project.environments,
    'POST /v1/projects': data.project,
    'GET /v1/accounts': [data.account],
    'GET /v1/accounts/{account}/transfers': data.transfers,
    'GET /v1/cost': data.costs,
    'GET /v1/projects/{project}/cost': data.costs,
    'PUT /v1/projects/{project}/cap': data.capChange,
    'PUT /v1/accounts/{account}/cap': data.capChange,
    'GET /v1/invoices': data.invoices,
    'GET /v1/events': data.changes,
    'GET /v1/tasks/{task}': data.task,
    'GET /v1/audit': data.audit,
    'GET /v1/people': data.people,
    'GET /v1/invitations': data.invitations,
    'POST /v1/invitations': { ...data.invitations[0]!, link: 'https://weir.example.org/invitation#wi_9fX2kQ' },
    'POST /v1/invitations/look': { email: 'edsger@example.org', grants: [{ role: 'viewer', scope: 'shop/staging' }], expires: data.before(-86_400_000), created_by: 'Ada Byron' },
    'GET /v1/me/sessions': data.sessions,
    'POST /v1/me/totp': { secret: 'JBSWY3DPEHPK3PXP', uri: 'otpauth://totp/Weir', qr: { size: 21, path: 'M0 0h7v7h-7zM1 1v5h5v-5zM14 0h7v7h-7zM15 1v5h5v-5zM0 14h7v7h-7zM1 15v5h5v-5zM9 2h2v3h-2zM10 9h5v4h-5z' } },
    'PUT /v1/me/totp': { codes: ['4f1c-99aa', '0b21-77fe', '9d3e-1c44'] },
    'GET /v1/tokens': data.tokens,
    'GET /v1/help': data.help,
    'GET /v1/help/{request}': data.help[0]!,
    'GET /v1/help-context': data.help[0]!.context!,
    'GET /v1/projects/{project}/environments/{environment}/loss': { volumes: [{ name: 'data', bytes: 1_840_300_000, files: 5214 }], domains: ['www.shop.example'], releases: 24, secrets: 2, notes: ['Its cap is forgotten.'] },
    'GET /v1/projects/{project}/environments/{environment}/releases/{number}/difference': { from: 24, to: 23, images: [{ app: 'shop', change: 'changed' }], variables: [{ name: 'SMTP_PASSWORD', change: 'removed', secret: true }], processes: [], commit_from: '9f3c2e71b0a4', commit_to: '51b0c9d2aa34', notes: ['Volumes keep what they hold; the release command does not run again.'] },
    'PUT /v1/projects/{project}/environments/{environment}/scale': { message: 'web: 2 to 4 instances', task: null, worst: data.worst },
    'GET /v1/projects/{project}/environments/{environment}/logs': data.logLines(1000),
    'GET /v1/projects/{project}/environments/{environment}/metrics': ({ query }) => data.metrics(query.get('from') ?? data.AT, query.get('until') ?? data.AT),
    'GET /v1/projects/{project}/environments/{environment}/variables': data.variables,
    'GET /v1/projects/{project}/environments/{environment}/volumes': data.volumes,
    'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/files': ({ query }) => ({ path: query.get('path') ?? '/', entries: data.files, more: false }),
    'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/content': '[shop]\ncurrency = EUR\n',
    'POST /v1/projects/{project}/environments/{environment}/uploads': ({ body }) => ({ id: 'upl_1', size: body.size, received: 0, expires: data.before(-86_400_000) }),
    'GET /v1/projects/{project}/environments/{environment}/uploads/{upload}': { id: 'upl_1', size: 100, received: 0, expires: data.before(-86_400_000) },
    'PATCH /v1/projects/{project}/environments/{environment}/uploads/{upload}': ({ body }) => ({ id: 'upl_1', size: 100, received: (body as Blob).size, expires: data.before(-86_400_000) }),
    'GET /v1/projects/{project}/environments/{environment}/uploads/{upload}/proposal': data.proposal,
    'POST /v1/projects/{project}/environments/{environment}/uploads/{upload}/deployment': { message: 'v25 is being deployed', task: 'tsk_25' },
  };
  return {
    fakes,
    at: data.AT,
    connection: 'live',
    refused: {},
    live: {
      overview: data.overview,
      caps: data.caps,
      tasks: data.tasks,
      [`environment:${scope}`]: data.environment,
      [`releases:${scope}`]: data.releases,
      [`domains:${scope}`]: data.domains,
    },
    streams: { '/v1/tasks/tsk_25/log': data.taskLines.map((line) => ({ event: 'line', id: String(line.sequence), data: line })) },
  };
}

const loading = (...keys: (keyof Fakes)[]) => (at: World) => {
  at.connection = 'silent';
  for (const key of keys) (at.fakes as Record<string, unknown>)[key] = never;
};
const failing = (...keys: (keyof Fakes)[]) => (at: World) => {
  for (const key of keys) (at.fakes as Record<string, unknown>)[key] = problem(503, 'database', 'the database does not answer', { hint: 'It is tried again by itself; look at `weir status` on the server.' });
};
const refusedTo = (...keys: (keyof Fakes)[]) => (at: World) => {
  for (const key of keys) (at.fakes as Record<string, unknown>)[key] = problem(403, 'forbidden', 'you may not do this here', { detail: 'It takes the role developer for shop/production; you are viewer there.' });
};
const answering = (fakes: Fakes) => (at: World) => void Object.assign(at.fakes, fakes);
const showing = (live: Record<string, unknown>) => (at: World) => void Object.assign(at.live, live);
const lost = (at: World) => {
  at.connection = 'lost';
};
const as = (role: Role, scope: string) => (at: World) => {
  at.fakes['GET /v1/session'] = data.signedIn(role, scope);
};
const refusedTopics = (at: World) => {
  at.refused['*'] = { status: 404, type: 'environment-not-found', title: 'there is no such environment, or it is not for you', hint: 'Ask an administrator of the project for a role.' };
};

/** The states that every view has which fetches what it shows. */
function fetched(id: string, path: string, key: keyof Fakes, empty: Fakes, main = false): Story[] {
  return [
    { id, path, main },
    { id: `${id}-empty`, path, change: answering(empty) },
    { id: `${id}-loading`, path, change: (at) => void ((at.fakes as Record<string, unknown>)[key] = never) },
    { id: `${id}-error`, path, change: failing(key) },
    { id: `${id}-no-right`, path, change: refusedTo(key) },
  ];
}

/** Of every view that follows what it shows. */
function followed(id: string, path: string, empty: Record<string, unknown>, main = false): Story[] {
  return [
    { id, path, main },
    { id: `${id}-empty`, path, change: showing(empty) },
    { id: `${id}-loading`, path, change: loading() },
    { id: `${id}-no-right`, path, change: refusedTopics },
    { id: `${id}-stale`, path, change: lost },
  ];
}

const none: Overview = { environments: [], accounts: [], troubles: [] };
const one: Overview = { ...data.overview, environments: data.overview.environments.slice(0, 1), troubles: [] };

export const stories: Story[] = [
  { id: 'sign-in', path: '/', main: true, change: answering({ 'GET /v1/session': { state: 'signed-out', providers: [{ id: 'corp', name: 'Example Corp' }], version: '0.5.0' } }) },
  {
    id: 'sign-in-error',
    path: '/',
    change: answering({ 'GET /v1/session': { state: 'signed-out', providers: [], version: '0.5.0' }, 'POST /v1/session': problem(401, 'wrong-credentials', 'mail address or password is wrong', { hint: 'An administrator can send you a new invitation.' }) }),
    act: async (by) => {
      await by.type('Mail address', 'ada@example.org');
      await by.type('Password', 'wrong');
      await by.press('Sign in');
    },
  },
  { id: 'second-factor', path: '/', change: answering({ 'GET /v1/session': { state: 'second-factor', csrf: 'c', providers: [], version: '0.5.0' } }) },
  { id: 'setup', path: '/', change: answering({ 'GET /v1/session': { state: 'setup', providers: [], version: '0.5.0' } }) },
  { id: 'start-loading', path: '/', change: (at) => void (at.fakes['GET /v1/session'] = never) },
  { id: 'start-error', path: '/', change: failing('GET /v1/session') },
  { id: 'invitation', path: '/invitation#wi_secret', change: answering({ 'GET /v1/session': { state: 'signed-out', providers: [], version: '0.5.0' } }) },
  { id: 'invitation-past', path: '/invitation#wi_secret', change: answering({ 'POST /v1/invitations/look': problem(404, 'invitation-not-found', 'this invitation was used already, or its time is past', { hint: 'Ask whoever sent it for a new one.' }) }) },
  { id: 'password-reset', path: '/password-reset#wr_secret', change: answering({ 'GET /v1/session': { state: 'signed-out', providers: [], version: '0.5.0' } }) },
  ...followed('overview', '/', { overview: none }, true),
  { id: 'overview-one', path: '/', change: showing({ overview: one }) },
  { id: 'overview-many', path: '/', large: true, change: showing({ overview: data.manyEnvironments(1000) }) },
  { id: 'overview-viewer', path: '/', change: (at) => (as('viewer', 'shop')(at), showing({ overview: { ...none, environments: data.overview.environments.filter((entry) => entry.project === 'shop').map((entry) => ({ ...entry, money: null })) } })(at)) },
  { id: 'missing', path: '/nowhere/at/all/here' },
  { id: 'switcher', path: '/', act: (by) => by.press('Go to') },
  { id: 'new-project', path: '/new' },
  {
    id: 'new-project-made',
    path: '/new',
    act: async (by) => {
      await by.type('Name', 'shop');
      await by.press('Create the project');
    },
  },
  ...fetched('project', '/projects/shop', 'GET /v1/projects/{project}', { 'GET /v1/projects/{project}': { ...data.project, environments: data.project.environments.slice(0, 1) } }),
  { id: 'project-destroy', path: '/projects/shop', act: (by) => by.press('Destroy the project') },
  ...followed('environment', SHOP, { 'environment:shop/production': data.environmentEmpty }, true),
  { id: 'environment-deploying', path: SHOP, change: showing({ 'environment:shop/production': data.environmentDeploying }), main: true },
  { id: 'environment-crashed', path: SHOP, change: showing({ 'environment:shop/production': data.environmentCrashed }) },
  { id: 'environment-stopped', path: SHOP, change: showing({ 'environment:shop/production': data.environmentStopped }) },
  { id: 'environment-paused', path: SHOP, change: showing({ 'environment:shop/production': data.environmentPaused }) },
  { id: 'environment-viewer', path: SHOP, change: as('viewer', 'shop') },
  {
    id: 'environment-scale',
    path: SHOP,
    act: async (by) => {
      await by.press('Scale');
      await by.type('at most', '4');
      await by.wait(500);
    },
  },
  { id: 'environment-pause', path: SHOP, act: (by) => by.press('Pause') },
  ...followed('releases', `${SHOP}/releases`, { 'releases:shop/production': { releases: [], deployments: [] } }, true),
  { id: 'releases-deploying', path: `${SHOP}/releases`, change: showing({ 'releases:shop/production': { ...data.releases, deployments: [data.deploying, ...data.releases.deployments] } }) },
  { id: 'releases-roll-back', path: `${SHOP}/releases`, act: (by) => by.press('Roll back v23') },
  { id: 'releases-promote', path: `${SHOP}/releases`, act: (by) => by.press('Promote to here') },
  { id: 'task', path: '/tasks/tsk_25', main: true },
  { id: 'task-failed', path: '/tasks/tsk_31', change: (at) => (answering({ 'GET /v1/tasks/{task}': data.tasks[2]! })(at), void (at.streams['/v1/tasks/tsk_31/log'] = [{ event: 'line', id: '1', data: { sequence: 1, at: data.AT, kind: 'step', text: 'Starting' } }, { event: 'line', id: '2', data: { sequence: 2, at: data.AT, kind: 'error', text: 'web ends as soon as it starts: exit status 1' } }, { event: 'end', data: data.tasks[2] }])) },
  { id: 'task-missing', path: '/tasks/tsk_0', change: answering({ 'GET /v1/tasks/{task}': problem(404, 'task-not-found', 'there is no such task') }) },
  ...fetched('logs', `${SHOP}/logs`, 'GET /v1/projects/{project}/environments/{environment}/logs', { 'GET /v1/projects/{project}/environments/{environment}/logs': [] }, true),
  { id: 'logs-many', path: `${SHOP}/logs`, change: answering({ 'GET /v1/projects/{project}/environments/{environment}/logs': data.logLines(100_000) }) },
  { id: 'logs-line', path: `${SHOP}/logs?line=l000000500` },
  { id: 'logs-chosen', path: `${SHOP}/logs`, act: async (by) => (await by.key('[role=listbox]', 'ArrowUp'), await by.key('[role=listbox]', 'Enter')) },
  { id: 'logs-none-found', path: `${SHOP}/logs?q=lamp`, change: answering({ 'GET /v1/projects/{project}/environments/{environment}/logs': [] }) },
  ...fetched('charts', `${SHOP}/charts`, 'GET /v1/projects/{project}/environments/{environment}/metrics', { 'GET /v1/projects/{project}/environments/{environment}/metrics': { from: data.AT, until: data.AT, step_s: 10, series: [], marks: [] } }, true),
  { id: 'charts-table', path: `${SHOP}/charts`, act: (by) => by.press('As a table Requests') },
  ...fetched('variables', `${SHOP}/variables`, 'GET /v1/projects/{project}/environments/{environment}/variables', { 'GET /v1/projects/{project}/environments/{environment}/variables': [] }, true),
  { id: 'variables-viewer', path: `${SHOP}/variables`, change: as('viewer', 'shop') },
  {
    id: 'variables-bulk',
    path: `${SHOP}/variables`,
    act: async (by) => {
      await by.press('Edit many');
      await by.type('As text', 'GREETING="Good morning"\nNEW=1\nbroken line\n');
    },
  },
  { id: 'variables-add', path: `${SHOP}/variables`, act: (by) => by.press('Add a variable') },
  { id: 'variables-remove', path: `${SHOP}/variables`, act: (by) => by.press('Remove GREETING') },
  ...followed('domains', `${SHOP}/domains`, { 'domains:shop/production': data.domains.slice(0, 1) }, true),
  { id: 'domains-add', path: `${SHOP}/domains`, act: (by) => by.press('Add names') },
  { id: 'domains-remove', path: `${SHOP}/domains`, act: (by) => by.press('Remove www.shop.example') },
  ...followed('costs', '/costs', { caps: [] }, true),
  { id: 'costs-nothing', path: '/costs', change: answering({ 'GET /v1/cost': { ...data.costs, lines: [], total: '0', lost: '0' } }) },
  { id: 'costs-error', path: '/costs', change: failing('GET /v1/cost', 'GET /v1/accounts') },
  { id: 'costs-project', path: '/projects/shop/costs' },
  { id: 'costs-cap', path: '/projects/shop/costs', main: true, act: async (by) => (await by.press('Change the cap shop'), await by.wait(500)) },
  { id: 'costs-deposit', path: '/costs', act: (by) => by.press('Book a payment') },
  { id: 'costs-promise', path: '/costs', act: (by) => by.press('Promise a payment') },
  ...fetched('invoices', '/costs/invoices', 'GET /v1/invoices', { 'GET /v1/invoices': [] }),
  ...followed('activity', '/activity', { tasks: [] }, true),
  { id: 'activity-error', path: '/activity', change: failing('GET /v1/events') },
  ...fetched('audit', '/activity/audit', 'GET /v1/audit', { 'GET /v1/audit': [] }),
  ...fetched('people', '/people', 'GET /v1/people', { 'GET /v1/people': data.people.slice(0, 1), 'GET /v1/invitations': [] }, true),
  { id: 'people-invite', path: '/people', act: (by) => by.press('Invite') },
  { id: 'people-grants', path: '/people', act: (by) => by.press('Change roles Grace Hopper') },
  { id: 'people-password', path: '/people', act: async (by) => (await by.press('New password Grace Hopper'), await by.wait(200)) },
  { id: 'people-delete', path: '/people', act: (by) => by.press('Remove Grace Hopper') },
  ...fetched('settings', '/settings', 'GET /v1/me/sessions', { 'GET /v1/me/sessions': data.sessions.slice(0, 1) }, true),
  { id: 'settings-totp', path: '/settings', act: (by) => by.press('Set up a second factor') },
  ...fetched('tokens', '/settings/tokens', 'GET /v1/tokens', { 'GET /v1/tokens': [] }),
  { id: 'tokens-add', path: '/settings/tokens', act: (by) => by.press('New token') },
  ...fetched('volumes', `${SHOP}/files`, 'GET /v1/projects/{project}/environments/{environment}/volumes', { 'GET /v1/projects/{project}/environments/{environment}/volumes': [] }),
  ...fetched('files', `${SHOP}/files/data`, 'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/files', { 'GET /v1/projects/{project}/environments/{environment}/volumes/{volume}/files': { path: '/', entries: [], more: false } }, true),
  { id: 'files-edit', path: `${SHOP}/files/data`, act: async (by) => (await by.press('Edit settings.ini'), await by.wait(200)) },
  { id: 'files-delete', path: `${SHOP}/files/data`, act: (by) => by.press('Remove orders') },
  { id: 'files-rename', path: `${SHOP}/files/data`, act: (by) => by.press('Rename shop.sqlite') },
  { id: 'deploy', path: `${SHOP}/deploy` },
  { id: 'deploy-proposal', path: `${SHOP}/deploy`, main: true, act: async (by) => (await by.key('input[type=file]:not([webkitdirectory])', 'file'), await by.wait(400)) },
  { id: 'deploy-live', path: `${SHOP}/deploy`, act: async (by) => (await by.key('input[type=file]:not([webkitdirectory])', 'file'), await by.wait(400), await by.press('Deploy to shop/production'), await by.wait(200)) },
  { id: 'terminal', path: `${SHOP}/terminal` },
  { id: 'terminal-open', path: `${SHOP}/terminal`, main: true, act: async (by) => (await by.press('Start'), await by.wait(800)) },
  ...fetched('help', '/help', 'GET /v1/help', { 'GET /v1/help': [] }),
  { id: 'help-ask', path: '/help?about=shop/production', act: (by) => by.press('Ask for help') },
  ...fetched('help-request', '/help/hlp_1', 'GET /v1/help/{request}', { 'GET /v1/help/{request}': { ...data.help[1]!, messages: [] } }),
  { id: 'environment-settings', path: '/projects/shop/production/settings' },
  { id: 'environment-proposal', path: '/projects/shop/production/settings', change: answering({ 'GET /v1/projects/{project}/environments/{environment}/proposal': data.proposal }), act: (by) => by.press('Propose one') },
  { id: 'signed-out-again', path: `${SHOP}/variables`, change: (at) => void (at.fakes['GET /v1/projects/{project}/environments/{environment}/variables'] = problem(401, 'signed-out', 'your session has ended')) },
];
