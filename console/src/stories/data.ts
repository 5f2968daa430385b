//! Canned data: a Weir with a shop in it.

import type {
  AuditEntry,
  Deployment,
  FileEntry,
  HelpRequest,
  Invitation,
  LogLine,
  Me,
  Metrics,
  Overview,
  OverviewEnvironment,
  Person,
  Proposal,
  Release,
  Role,
  RoleTable,
  Schemas,
  Session,
  SessionState,
  Token,
  Volume,
  WorstCase,
} from '../api/endpoints';

export const AT = '2026-11-21T12:03:22.000Z';
const NOW = Date.parse(AT);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** So long before (or after) the instant of the stories. */
export const before = (ms: number): string => new Date(NOW - ms).toISOString();
const after = (ms: number): string => before(-ms);

/** Numbers that look like chance and are the same every time. */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

const LOOK = ['get_environment', 'list_releases', 'read_logs', 'get_metrics', 'list_variables', 'list_domains', 'list_volumes', 'list_changes', 'list_help'];
const MONEY = ['list_caps', 'get_cap', 'get_cost'];
const DEVELOP = ['create_upload', 'get_live_proposal', 'deploy_upload', 'create_deployment', 'promote_environment', 'set_scale', 'pause_environment', 'resume_environment', 'update_variables', 'exec_command', 'run_command', 'list_files', 'write_file', 'update_environment', 'create_environment', 'destroy_environment'];
const PAY = ['list_accounts', 'list_invoices', 'create_promise'];
const ADMIN = ['create_project', 'add_domain', 'remove_domain', 'retry_domain', 'set_account_cap', 'set_project_cap', 'set_environment_cap', 'list_people', 'set_grants', 'list_invitations', 'create_invitation', 'update_person', 'list_tokens', 'list_audit', 'create_deposit', 'create_password_reset'];
const OWN = ['destroy_project', 'delete_person'];

export const roles: RoleTable = {
  roles: [
    { role: 'viewer', permissions: [], may: LOOK },
    { role: 'billing', permissions: [], may: [...MONEY, ...PAY] },
    { role: 'developer', permissions: [], may: [...LOOK, ...MONEY, ...DEVELOP] },
    { role: 'admin', permissions: [], may: [...LOOK, ...MONEY, ...DEVELOP, ...PAY, ...ADMIN] },
    { role: 'owner', permissions: [], may: [...LOOK, ...MONEY, ...DEVELOP, ...PAY, ...ADMIN, ...OWN] },
  ],
};

export const person: Person = { id: 'psn_01ada', name: 'Ada Byron', email: 'ada@example.org', state: 'active', grants: [{ role: 'owner', scope: 'weir' }], totp: true, created: before(90 * DAY), last_seen: before(MINUTE) };

export const me = (role: Role = 'owner', scope = 'weir'): Me => ({ person: { ...person, grants: [{ role, scope }] }, may: [{ role, scope }], session: 'ses_1', totp: false, password: true });

export const signedIn = (role?: Role, scope?: string): SessionState => ({ state: 'signed-in', csrf: 'c', me: me(role, scope), providers: [], version: '0.5.0' });

const EUR = 'EUR';

export function environmentRow(project: string, environment: string, change: Partial<OverviewEnvironment> = {}): OverviewEnvironment {
  return {
    project,
    environment,
    url: `http://${project}${environment === 'production' ? '' : `-${environment}`}.example.org`,
    health: 'running',
    release: 24,
    released: before(3 * HOUR),
    ready: 2,
    wanted: 2,
    requests_per_s: 12.4,
    errors_per_s: 0,
    money: { scope: 'shop', currency: EUR, spent: '3.214879120', limit: '7.00', period: 'month', burn_per_hour: '0.009812345', reached: null, stopped: false },
    ...change,
  };
}

export const overview: Overview = {
  environments: [
    environmentRow('blog', 'production', { release: 7, requests_per_s: 0.8, ready: 1, wanted: 1, released: before(9 * DAY), money: { scope: 'blog', currency: EUR, spent: '0.412', limit: '7.00', period: 'month', burn_per_hour: '0.00098', stopped: false } }),
    environmentRow('crawler', 'production', { health: 'running', requests_per_s: 3.1, ready: 1, wanted: 1, money: { scope: 'crawler', currency: EUR, spent: '7.00', limit: '7.00', period: 'month', burn_per_hour: '0', stopped: true } }),
    environmentRow('shop', 'production', {}),
    environmentRow('shop', 'staging', { health: 'crashed', detail: 'web ends as soon as it starts: exit status 1', release: 31, ready: 0, wanted: 1, requests_per_s: 0.1, errors_per_s: 0.1, released: before(12 * MINUTE) }),
    environmentRow('wiki', 'production', { health: 'deploying', release: 3, ready: 1, wanted: 2 }),
    environmentRow('wiki', 'preview', { health: 'empty', release: null, released: null, ready: 0, wanted: 0, requests_per_s: 0, money: null }),
  ],
  accounts: [],
  troubles: [
    { severity: 'error', kind: 'crashed', project: 'shop', environment: 'staging', message: 'web ends as soon as it starts: exit status 1', since: before(12 * MINUTE) },
    { severity: 'error', kind: 'stopped', project: 'crawler', environment: 'production', message: 'the cap of crawler is reached; nothing more is spent this month', since: before(2 * HOUR) },
    { severity: 'warning', kind: 'certificate', project: 'shop', environment: 'production', message: 'shop.example.com leads to 203.0.113.9, not here', since: before(26 * HOUR) },
  ],
};

export function manyEnvironments(count: number): Overview {
  const random = chance(7);
  const names = ['shop', 'api', 'blog', 'wiki', 'crawler', 'mail', 'search', 'images', 'reports', 'queue'];
  return {
    ...overview,
    environments: Array.from({ length: count }, (_, index) => environmentRow(`${names[index % names.length]}-${String(Math.floor(index / names.length)).padStart(3, '0')}`, 'production', { requests_per_s: random() * 40, ready: 1 + Math.floor(random() * 3), wanted: 3, health: random() > 0.97 ? 'degraded' : 'running' })),
  };
}

export const caps: Schemas['CapStanding'][] = [
  cap('account:default', 'account', '100.00', '21.480112904', '2.110', { left: '76.409887096', burn_per_hour: '0.0312' }),
  cap('blog', 'project', '7.00', '0.412', '0.05'),
  cap('crawler', 'project', '7.00', '6.999999998', '0', { stopped: { reason: 'project-cap', message: 'The cap of crawler is reached.', hint: 'Raise it, or wait for the first of December.' }, left: '0.000000002', burn_per_hour: '0' }),
  cap('shop', 'project', '7.00', '3.214879120', '0.402', { reached: after(4 * DAY), reached_at_worst: after(2 * DAY) }),
  { ...cap('shop/staging', 'environment', '0', '0.201', '0.02'), cap: null, limit: null, left: null },
];
overview.accounts = caps.filter((entry) => entry.kind === 'account');

function cap(scope: string, kind: string, limit: string, settled: string, held: string, change: Partial<Schemas['CapStanding']> = {}): Schemas['CapStanding'] {
  return {
    scope,
    kind,
    currency: EUR,
    cap: { limit, period: 'month', pace: kind === 'project' },
    limit,
    settled,
    held,
    reserved: '0.01',
    left: '3.38',
    from: '2026-11-01T00:00:00.000Z',
    until: '2026-12-01T00:00:00.000Z',
    burn_per_hour: '0.009812345',
    worst_per_hour: '0.0412',
    ...change,
  };
}

const INSTANCES: Schemas['Instance'][] = [
  { id: 'ins_01j9z3k4m5n6p7q8r9s0t1a2b3', release: 24, state: 'ready', started: before(3 * HOUR), crashes: 0 },
  { id: 'ins_01j9z3k4m5n6p7q8r9s0t1c4d5', release: 24, state: 'ready', started: before(3 * HOUR), crashes: 0 },
];

function process(name: string, instances: Schemas['Instance'][], change: Partial<Schemas['ProcessStatus']> = {}): Schemas['ProcessStatus'] {
  return { app: 'shop', process: name, command: name === 'web' ? 'gunicorn shop:app --bind 0.0.0.0:$PORT' : 'python worker.py', cpu_milli: 1000, memory_bytes: 512 << 20, instances, ready: instances.filter((one) => one.state === 'ready').length, wanted: instances.length, ...change };
}

export const environment: Schemas['EnvironmentStatus'] = {
  project: 'shop',
  environment: { id: 'env_1', name: 'production', branch: 'main', mode: 'active', release: 24, url: 'http://shop.example.org' },
  health: 'running',
  processes: [process('web', INSTANCES, { range: { min: 1, max: 5 }, idle: 'freeze' }), process('worker', [{ id: 'ins_01j9z3k4m5n6p7q8r9s0t1e6f7', release: 24, state: 'ready', started: before(3 * HOUR), crashes: 0, background: { app: 'shop', process: 'worker', instance: 'ins_1', since: before(HOUR), cpu_ms: 48_200, slowed: false } }])],
  domains: [
    { host: 'shop.example.org', url: 'http://shop.example.org', platform: true },
    { host: 'www.shop.example', url: 'https://www.shop.example', platform: false, certificate: { state: 'valid', detail: 'valid for 61 days', ends: after(61 * DAY) } },
  ],
  money: { scope: 'shop', currency: EUR, cap: { limit: '7.00', period: 'month', pace: true }, spent: '3.013', left: '3.38' },
  refused: { address: 0, body: 2, maintenance: 0, password: 14, rate: 381 },
};

export const deploying: Deployment = { id: 'dep_25', kind: 'release', release: 25, state: 'starting', task: 'tsk_25', created: before(48_000), entered: before(9000), steps: [{ state: 'pending', entered: before(48_000) }, { state: 'releasing', entered: before(20_000) }, { state: 'starting', entered: before(9000) }] };

export const environmentDeploying: Schemas['EnvironmentStatus'] = {
  ...environment,
  health: 'deploying',
  deployment: deploying,
  processes: [process('web', [...INSTANCES, { id: 'ins_01j9z3k4m5n6p7q8r9s0t1g8h9', release: 25, state: 'starting', started: before(9000), crashes: 0, reason: 'GET /health has not answered yet' }], { wanted: 2 })],
};

export const environmentCrashed: Schemas['EnvironmentStatus'] = {
  ...environment,
  health: 'crashed',
  detail: 'web ends as soon as it starts: exit status 1',
  processes: [process('web', [{ id: 'ins_01j9z3k4m5n6p7q8r9s0t1x0y1', release: 24, state: 'crashed', started: before(40_000), crashes: 5, reason: 'exit status 1; started again in 30 s', last_lines: ['Traceback (most recent call last):', '  File "/app/shop.py", line 12, in <module>', '    DATABASE_URL = os.environ["DATABASE_URL"]', "KeyError: 'DATABASE_URL'", '<script>alert("this is text")</script>'] }], { ready: 0, wanted: 1 })],
};

export const environmentStopped: Schemas['EnvironmentStatus'] = {
  ...environment,
  processes: [process('web', INSTANCES.map((one) => ({ ...one, state: 'frozen', reason: 'nothing more may be spent' })), { ready: 0 })],
  money: { scope: 'shop', currency: EUR, cap: { limit: '7.00', period: 'month', pace: true }, spent: '6.999999998', left: '0.000000002', stopped: { reason: 'project-cap', message: 'The cap of shop is reached: nothing more is spent until December.', hint: 'Raise the cap, or wait.', kept_until: after(30 * DAY) } },
};

export const environmentPaused: Schemas['EnvironmentStatus'] = { ...environment, health: 'paused', environment: { ...environment.environment, mode: 'paused' }, processes: [process('web', [], { wanted: 0 })] };
export const environmentEmpty: Schemas['EnvironmentStatus'] = { ...environment, health: 'empty', environment: { ...environment.environment, release: null }, processes: [], domains: environment.domains.slice(0, 1), money: null };

export const releases: { releases: Release[]; deployments: Deployment[] } = {
  releases: [
    release(24, 'push', 'Show the price with tax in the basket', { commit: '9f3c2e71b0a44d21', live: true, by: 'Ada Byron' }),
    release(23, 'configuration', 'set SMTP_HOST, SMTP_PASSWORD', { by: 'ci (token)' }),
    release(22, 'push', 'Index the orders by day: the report of the month took eleven seconds', { commit: '51b0c9d2aa34', outcome: 'failed', by: 'Grace Hopper' }),
    release(21, 'upload', 'folder shop-main', { by: 'Ada Byron' }),
  ],
  deployments: [
    deployment(24, 'live', 71_000),
    deployment(23, 'retired', 12_000),
    deployment(22, 'failed', 38_000, 'the release command failed with exit status 1: relation "orders_day" already exists'),
    deployment(21, 'retired', 95_000),
  ],
};

function release(number: number, source: string, message: string, change: Partial<Release> = {}): Release {
  return { id: `rel_${number}`, number, source, description: message, message, created: before((25 - number) * 5 * HOUR), images: { shop: `sha256:${number}` }, live: false, ...change };
}

function deployment(release: number, state: string, took: number, reason?: string): Deployment {
  const created = before((25 - release) * 5 * HOUR);
  const end = new Date(Date.parse(created) + took).toISOString();
  return { id: `dep_${release}`, kind: 'release', release, state, task: `tsk_${release}`, created, entered: end, reason: reason ?? null, steps: [{ state: 'pending', entered: created }, { state: state === 'failed' ? 'failed' : 'live', entered: end }] };
}

export const task: Schemas['Task'] = { id: 'tsk_25', kind: 'push', project: 'shop', environment: 'production', state: 'running', step: 'Starting', title: 'Push of 4c1d77e0 to shop/production', created: before(48_000) };

export const taskLines: Schemas['TaskLine'][] = (
  [
    ['step', 'Receiving 4c1d77e0'],
    ['info', 'Python 3.13, from requirements.txt'],
    ['step', 'Building shop'],
    ['output', '#6 [2/5] RUN pip install -r requirements.txt'],
    ['output', '#6 1.204 Collecting flask==3.1.2'],
    ['output', '#6 \u001b[32mSuccessfully installed\u001b[0m flask-3.1.2 gunicorn-23.0.0'],
    ['output', '#9 exporting to image'],
    ['step', 'Release command: python manage.py migrate'],
    ['output', 'Operations to perform: Apply all migrations'],
    ['output', '  Applying orders.0014_day... OK'],
    ['step', 'Starting 2 instances of web'],
    ['info', 'web: GET /health has not answered yet'],
  ] as const
).map(([kind, text], index) => ({ sequence: index + 1, at: before(48_000 - index * 3600), kind, text }));

export const tasks: Schemas['Task'][] = [
  task,
  { id: 'tsk_24', kind: 'push', project: 'shop', environment: 'production', state: 'done', step: 'Live', title: 'Push of 9f3c2e71 to shop/production', created: before(5 * HOUR), ended: before(5 * HOUR - 71_000) },
  { id: 'tsk_31', kind: 'push', project: 'shop', environment: 'staging', state: 'failed', step: 'Checking', title: 'Push of 0b11aa92 to shop/staging', created: before(13 * MINUTE), ended: before(12 * MINUTE), error: 'web ends as soon as it starts: exit status 1' },
  { id: 'tsk_9', kind: 'scale', project: 'blog', environment: 'production', state: 'superseded', step: '', title: 'Scale blog/production', created: before(2 * DAY), ended: before(2 * DAY) },
];

export const changes: Schemas['Change'][] = [
  { sequence: 904, at: before(12 * MINUTE), kind: 'instance.crashed', project: 'shop', environment: 'staging', message: 'web crashed with exit status 1, the 5th time in a row' },
  { sequence: 903, at: before(2 * HOUR), kind: 'money.stopped', project: 'crawler', environment: 'production', message: 'The cap of crawler is reached; nothing more is spent' },
  { sequence: 902, at: before(3 * HOUR), kind: 'scaling.out', project: 'shop', environment: 'production', message: 'web from 1 to 2 instances: 31 requests in flight, 14 aimed at' },
  { sequence: 901, at: before(5 * HOUR), kind: 'deployment.live', project: 'shop', environment: 'production', message: 'v24 is live after 71 s' },
];

const PATHS = ['/', '/basket', '/orders/1882', '/static/app.css', '/search?q=lamp', '/health', '/login'];

export function logLines(count: number): LogLine[] {
  const random = chance(3);
  return Array.from({ length: count }, (_, index) => {
    const slow = random() > 0.985;
    const path = PATHS[Math.floor(random() * PATHS.length)];
    const worker = random() > 0.86;
    return {
      id: `l${String(index).padStart(9, '0')}`,
      at: before((count - index) * 137),
      app: 'shop',
      process: worker ? 'worker' : 'web',
      instance: INSTANCES[0]?.id ?? null,
      stream: slow ? 'stderr' : 'stdout',
      text: slow ? `\u001b[31mERROR\u001b[0m ${path} took ${(random() * 9).toFixed(2)} s: the pool of the database is empty` : worker ? `sent mail ${Math.floor(random() * 90_000)} to a customer` : `"GET ${path} HTTP/1.1" 200 ${Math.floor(random() * 40_000)} ${(random() * 90).toFixed(1)}ms`,
    };
  });
}

export const variables: Schemas['Variable'][] = [
  { name: 'DATABASE_URL', secret: true, build: false, live: true, updated: before(40 * DAY) },
  { name: 'GREETING', value: 'Hello, and welcome', secret: false, build: false, live: true, updated: before(3 * DAY) },
  { name: 'NPM_MIRROR', value: 'https://npm.example.org/', secret: false, build: true, live: true, updated: before(12 * DAY) },
  { name: 'SMTP_PASSWORD', secret: true, build: false, live: false, updated: before(HOUR) },
];

export const domains: Schemas['Domain'][] = [
  { host: 'shop.example.org', url: 'https://shop.example.org', platform: true, certificate: { state: 'valid', detail: 'valid for 61 days; renewed by itself', ends: after(61 * DAY) } },
  { host: 'www.shop.example', url: 'https://www.shop.example', platform: false, https_redirect: true, hsts_s: 0, certificate: { state: 'issuing', detail: 'the authority looks whether the name leads here' } },
  { host: 'shop.example.com', url: 'http://shop.example.com', platform: false, https_redirect: true, certificate: { state: 'waiting', detail: 'the name leads to 203.0.113.9, and not here', hint: 'Let it lead to 198.51.100.7: an A record at whoever keeps the DNS of example.com.', next: after(9 * MINUTE) } },
  { host: 'old.shop.example', url: 'http://old.shop.example', platform: false, redirect_to: 'www.shop.example', certificate: { state: 'failing', detail: 'the authority answers: CAA record forbids issuance', hint: 'Allow the authority in the CAA record of shop.example.', next: after(HOUR) } },
];

export const costs: Schemas['CostReport'] = {
  currency: EUR,
  from: '2026-11-01T00:00:00.000Z',
  until: AT,
  lines: [
    { project: 'shop', environment: 'production', amount: '3.013879120' },
    { project: 'shop', environment: 'staging', amount: '0.201' },
    { project: 'crawler', environment: 'production', amount: '6.999999998' },
    { project: 'blog', environment: 'production', amount: '0.412' },
  ],
  lost: '0.000012',
  total: '10.626879118',
  time_zone: 'Europe/Berlin',
};

export const worst: WorstCase = { currency: EUR, worst_per_hour: '0.0824', worst_per_month: '60.15', reached_at_worst: after(46 * HOUR), scope: 'shop' };

export const capChange: Schemas['CapChange'] = { scope: 'shop', currency: EUR, done: false, spent_and_held: '3.616879120', worst_per_hour: '0.0412', worst_per_month: '30.08', reached_at_worst: after(6 * DAY), before: { limit: '7.00', period: 'month', pace: true }, after: { limit: '14.00', period: 'month', pace: true }, notes: [] };

export const account: Schemas['Account'] = { id: 'acc_1', name: 'default', currency: EUR, billing: true, balance: '42.310000000', cash: '37.31', trial: '5.00', promised: '0', debt: '0', held: '2.11', projects: ['blog', 'crawler', 'shop', 'wiki'], stop_order: [] };

export const transfers: Schemas['Transfer'][] = [
  { id: 'trf_2', at: before(6 * DAY), amount: '40.00', from: 'outside', to: 'account:default/cash', reference: 'bank transfer 2026-11-15' },
  { id: 'trf_1', at: before(90 * DAY), amount: '5.00', from: 'credit', to: 'account:default/trial', reference: 'starting credit' },
];

export const invoices: Schemas['Invoice'][] = [1, 2].map((index) => ({
  id: `inv_${index}`,
  kind: 'invoice',
  state: index === 1 ? 'draft' : 'final',
  number: index === 1 ? null : 'W-2026-0017',
  created: before(index * 20 * DAY),
  finalized: index === 1 ? null : before(20 * DAY),
  document: { account: 'default', currency: EUR, customer: 'Ada Byron', seller: 'Weir Ltd', from: '2026-10-01T00:00:00.000Z', until: '2026-11-01T00:00:00.000Z', lines: [], net: '9.51', tax: '1.81', tax_percent: '19', total: '11.32', rounding: '0' },
}));

export function metrics(from: string, until: string): Metrics {
  const step = 10;
  const length = 360;
  const random = chance(11);
  const wave = (mean: number, swing: number) => Array.from({ length }, (_, index) => (index > 120 && index < 128 ? null : Math.max(0, mean + swing * Math.sin(index / 28) + (random() - 0.5) * swing)));
  const flat = (value: number) => Array.from({ length }, (_, index) => (index < 200 ? value : value + 1));
  return {
    from,
    until,
    step_s: step,
    series: [
      { name: 'requests', unit: '1/s', values: wave(14, 6) },
      { name: 'errors', unit: '1/s', values: wave(0.2, 0.3) },
      { name: 'latency_p50', unit: 's', values: wave(0.021, 0.006) },
      { name: 'latency_p95', unit: 's', values: wave(0.08, 0.03) },
      { name: 'latency_p99', unit: 's', values: wave(0.24, 0.11) },
      { name: 'cpu', unit: 'cores', values: wave(0.6, 0.3) },
      { name: 'memory', unit: 'bytes', values: wave(310 << 20, 40 << 20) },
      { name: 'instances', unit: 'instances', values: flat(1) },
      { name: 'egress', unit: 'bytes/s', values: wave(220_000, 90_000) },
      { name: 'cost', unit: 'EUR/h', values: wave(0.0098, 0.002) },
    ],
    marks: [{ at: new Date(Date.parse(from) + 25 * MINUTE).toISOString(), release: 24, kind: 'release' }],
  };
}

export const people: Person[] = [
  person,
  { id: 'psn_02', name: 'Grace Hopper', email: 'grace@example.org', state: 'active', grants: [{ role: 'developer', scope: 'shop' }, { role: 'viewer', scope: 'blog' }], totp: false, created: before(30 * DAY), last_seen: before(2 * HOUR) },
  { id: 'psn_03', name: 'Konrad Zuse', email: 'konrad@example.org', state: 'suspended', grants: [{ role: 'billing', scope: 'account:default' }], totp: false, created: before(60 * DAY), last_seen: null },
];

export const invitations: Invitation[] = [{ id: 'ivt_1', email: 'edsger@example.org', grants: [{ role: 'viewer', scope: 'shop/staging' }], created: before(HOUR), expires: after(6 * DAY), created_by: 'Ada Byron' }];

export const sessions: Session[] = [
  { id: 'ses_1', created: before(2 * DAY), last_used: before(1000), expires: after(88 * DAY), address: '198.51.100.20', agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0', method: 'totp', current: true },
  { id: 'ses_2', created: before(9 * DAY), last_used: before(DAY), expires: after(29 * DAY), address: '198.51.100.77', agent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Safari/605', method: 'password', current: false },
];

export const tokens: Token[] = [
  { id: 'tok_1', name: 'admin', scope: 'admin', created: before(90 * DAY), project: null, last_used: before(40 * DAY) },
  { id: 'tok_2', name: 'ci', scope: 'deploy', created: before(30 * DAY), project: 'shop', expires: after(60 * DAY), last_used: before(5 * HOUR) },
];

export const audit: AuditEntry[] = [
  { sequence: 51, at: before(3 * MINUTE), who: { kind: 'person', id: 'psn_01ada', name: 'Ada Byron' }, role: 'owner', address: '198.51.100.20', agent: 'Firefox', operation: 'PATCH /v1/projects/{project}/environments/{environment}/variables', scope: 'shop/production', target: 'SMTP_PASSWORD', outcome: 'done', status: 202, request: 'req_51', detail: '' },
  { sequence: 50, at: before(8 * MINUTE), who: { kind: 'person', id: 'psn_02', name: 'Grace Hopper' }, role: 'developer', address: '198.51.100.33', agent: 'Chrome', operation: 'PUT /v1/projects/{project}/cap', scope: 'shop', target: '', outcome: 'refused', status: 403, request: 'req_50', detail: 'set-caps' },
  { sequence: 49, at: before(5 * HOUR), who: { kind: 'token', id: 'tok_2', name: 'ci' }, role: 'deploy token', address: '203.0.113.40', agent: 'weir', operation: 'POST /v1/projects/{project}/environments/{environment}/deployments', scope: 'shop/production', target: '', outcome: 'done', status: 202, request: 'req_49', detail: '' },
];

export const volumes: Volume[] = [
  { name: 'data', app: 'shop', path: '/data', writers: 'one', bytes: 1_840_300_000, files: 5214, at_least: false, counted: before(4 * MINUTE) },
  { name: 'uploads', app: 'shop', path: '/uploads', writers: 'many', bytes: 88_400_000, files: 912, at_least: true, counted: before(4 * MINUTE) },
];

export const files: FileEntry[] = [
  file('backups', 'folder', 0),
  file('orders', 'folder', 0),
  file('shop.sqlite', 'file', 1_610_612_736),
  file('settings.ini', 'file', 812),
  { ...file('Übersicht 2026 – заказы 🧾.csv', 'file', 48_210), path: '/%C3%9Cbersicht%202026.csv' },
  file('  two  spaces and <b>markup</b>\n.txt', 'file', 3),
  { ...file('current', 'link', 0), target: 'backups/2026-11-20' },
];

function file(name: string, kind: FileEntry['kind'], bytes: number): FileEntry {
  return { name, path: `/${encodeURIComponent(name)}`, kind, bytes, modified: before(bytes % 90_000_000), mode: kind === 'folder' ? '0755' : '0644' };
}

export const proposal: Proposal = {
  apps: [{ app: 'shop', folder: '/', kind: 'Python 3.13 (Flask)', because: 'requirements.txt names flask and gunicorn; Procfile names two processes.' }],
  toml: '[build]\nruntime = "python:3.13"\n\n[process.web]\ncommand = "gunicorn shop:app"\nmemory = "512MiB"\n\n[process.web.check]\npath = "/health"\n\n[process.worker]\ncommand = "python worker.py"\n\n[volume.data]\npath = "/data"\n',
  explanations: [
    { line: 2, text: 'requirements.txt asks for Python 3.13 or newer.' },
    { line: 5, text: 'From the Procfile.' },
    { line: 6, text: 'The default; a limit for each instance.' },
    { line: 9, text: 'shop.py answers /health.' },
    { line: 12, text: 'From the Procfile: runs without a route.' },
    { line: 15, text: 'shop.py writes a SQLite file to /data.' },
  ],
  present: '[process.web]\ncommand = "flask run"\n',
  problems: [{ title: '`flask run` is a server for development', hint: 'Use gunicorn, which requirements.txt has already.', line: 2 }],
  worst,
};

export const help: HelpRequest[] = [
  {
    id: 'hlp_1',
    subject: 'The certificate of shop.example.com does not come',
    scope: 'shop/production',
    state: 'answered',
    by: 'Grace Hopper',
    created: before(DAY),
    updated: before(3 * HOUR),
    messages: [
      { id: 'm1', at: before(DAY), by: 'Grace Hopper', operator: false, text: 'I added the name yesterday.\n\nThe page says that it leads elsewhere, but I changed the DNS.' },
      { id: 'm2', at: before(3 * HOUR), by: 'Ada Byron', operator: true, text: 'The old record has a day to live. It is through at noon.' },
    ],
    context: { at: before(DAY), parts: [{ title: 'Domains', text: 'shop.example.com: waiting\nleads to 203.0.113.9' }, { title: 'Log', text: '12:00:01 web started' }] },
  },
  { id: 'hlp_2', subject: 'How do I get more than 2 GiB up?', scope: null, state: 'closed', by: 'Grace Hopper', created: before(9 * DAY), updated: before(8 * DAY) },
];

export const project: Schemas['Project'] = { id: 'prj_1', name: 'shop', created: before(90 * DAY), destroying: false, git_url: 'http://weir.example.org/git/shop.git', url: 'http://shop.example.org', environments: [environment.environment, { id: 'env_2', name: 'staging', branch: 'staging', mode: 'active', release: 31, url: 'http://shop-staging.example.org' }] };
