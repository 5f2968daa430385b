// Uses the built console as a person does, in real Chromium, against a small control that can be
// told to lose its connections, to forget sessions and to refuse tokens.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { serve } from './serve.mjs';

const AT = () => new Date().toISOString();
const NASTY = '<img src=x onerror="window.hacked=true">';
const ALL = 'list_caps list_people create_project get_environment list_releases read_logs list_variables update_variables list_domains create_deployment pause_environment set_scale update_environment create_upload'.split(' ');
const PERSON = { id: 'psn_1', name: 'Ada', email: 'ada@example.org', state: 'active', grants: [], totp: false, created: AT() };

/** What control knows; the tests change it. */
const control = { signedIn: false, csrf: 'one', health: 'running', down: false, streams: new Set(), patches: [], keys: [], dropAnswers: 0, environments: ['production', 'staging'] };

const row = (environment) => ({ project: 'shop', environment, url: 'http://shop.localhost', health: control.health, detail: NASTY, release: 3, released: AT(), ready: 1, wanted: 1, requests_per_s: 1, errors_per_s: 0, money: null });
const status = () => ({ project: 'shop', environment: { id: 'env_1', name: 'production', branch: 'main', mode: 'active', release: 3, url: 'http://shop.localhost' }, health: control.health, detail: NASTY, processes: [], domains: [] });
const states = { overview: () => ({ environments: control.environments.map(row), accounts: [], troubles: [] }), 'environment:shop/production': status, caps: () => [], tasks: () => [], 'releases:shop/production': () => ({ releases: [], deployments: [] }) };
const session = () => (control.signedIn ? { state: 'signed-in', csrf: control.csrf, me: { person: PERSON, may: [{ role: 'owner', scope: 'weir' }], session: 'ses_1', totp: false, password: true }, providers: [], version: '1' } : { state: 'signed-out', providers: [], version: '1' });

async function api(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const key = `${request.method} ${url.pathname}`;
  const body = await new Promise((resolve) => {
    let text = '';
    request.on('data', (piece) => (text += piece)).on('end', () => resolve(text));
  });
  if (control.down) return request.socket.destroy();
  const json = (value, code = 200) => response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  const problem = (code, type, title) => json({ status: code, type, title }, code);
  if (key === 'GET /v1/session') return json(session());
  if (key === 'POST /v1/session') {
    if (JSON.parse(body).password !== 'correct horse battery') return problem(401, 'wrong-credentials', 'mail address or password is wrong');
    control.signedIn = true;
    return json(session());
  }
  if (!control.signedIn) return problem(401, 'signed-out', 'your session has ended');
  if (request.method !== 'GET' && request.headers['x-weir-csrf'] !== control.csrf) return problem(403, 'csrf', 'the token of the page is not right');
  if (key === 'GET /v1/roles') return json({ roles: [{ role: 'owner', may: ALL }] });
  if (key === 'GET /v1/live') return live(url.searchParams.getAll('topic'), response);
  if (key.endsWith('/variables') && request.method === 'PATCH') {
    control.keys.push(request.headers['idempotency-key']);
    if (control.dropAnswers > 0) {
      control.dropAnswers -= 1;
      return request.socket.destroy();
    }
    control.patches.push(JSON.parse(body));
    return json({ message: 'v4 is being deployed', task: null });
  }
  if (key.endsWith('/variables')) return json([{ name: 'GREETING', value: NASTY, secret: false, build: false, live: true, updated: AT() }]);
  if (key === 'GET /v1/projects') return json([{ id: 'prj_1', name: 'shop', created: AT(), destroying: false, git_url: '', url: '', environments: [{ id: 'e', name: 'production', mode: 'active', url: '' }] }]);
  return problem(404, 'not-found', `no ${key} here`);
}

function live(topics, response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const say = () => {
    for (const topic of topics) if (states[topic]) response.write(`event: state\ndata: ${JSON.stringify({ topic, at: AT(), data: states[topic]() })}\n\n`);
  };
  say();
  const timer = setInterval(() => response.write(`event: tick\ndata: ${JSON.stringify({ at: AT() })}\n\n`), 500);
  control.streams.add({ say, response });
  response.on('close', () => clearInterval(timer));
}

const publish = () => [...control.streams].forEach((stream) => stream.say());
function goDown() {
  control.down = true;
  for (const stream of control.streams) stream.response.destroy();
  control.streams.clear();
}

const server = await serve('dist', 'index.html', (request, response) => void api(request, response));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
const context = await browser.newContext({ locale: 'en', viewport: { width: 1200, height: 800 } });
context.setDefaultTimeout(30_000);
const page = await context.newPage();
const complaints = [];
page.on('console', (message) => message.type() === 'error' && !/Failed to load resource/.test(message.text()) && complaints.push(message.text()));
page.on('pageerror', (error) => complaints.push(error.message));
let passed = 0;

async function test(name, run) {
  try {
    await run();
  } catch (error) {
    await page.screenshot({ path: 'screenshots/behaviour.png' });
    console.error(`failed: ${name} (screenshots/behaviour.png)`, complaints);
    throw error;
  }
  passed += 1;
  console.log(`ok: ${name}`);
}

const heading = () => page.evaluate(() => document.activeElement?.tagName === 'H1' && document.activeElement.textContent);

await test('a wrong password is said, the right one comes back to the address', async () => {
  await page.goto(`${server.url}/projects/shop/production/variables?x=1`);
  await page.getByLabel('Mail address').fill('ada@example.org');
  await page.getByLabel('Password').fill('wrong');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('mail address or password is wrong').waitFor();
  await page.getByLabel('Password').fill('correct horse battery');
  await page.keyboard.press('Enter');
  await page.getByRole('rowheader', { name: 'GREETING' }).waitFor();
  assert.equal(new URL(page.url()).pathname, '/projects/shop/production/variables');
});

await test('what tenants wrote is text', async () => {
  await page.getByRole('cell', { name: NASTY }).waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('main img').count(), 0);
});

await test('pages have the focus on their heading, and the back button goes back', async () => {
  await page.getByRole('link', { name: 'Costs', exact: true }).first().click();
  await page.waitForURL('**/costs');
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1');
  assert.match(await heading(), /Costs/);
  assert.match(await page.title(), /^Costs · Weir/);
  await page.goBack();
  await page.getByRole('rowheader', { name: 'GREETING' }).waitFor();
  await page.goForward();
  await page.waitForURL('**/costs');
});

await test('everything is reached by the keyboard alone', async () => {
  await page.goto(`${server.url}/`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'content');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Project, environment or page' }).waitFor();
  await page.getByRole('option', { name: 'shop/production' }).waitFor();
  await page.keyboard.type('shop/prod');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/projects/shop/production');
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1');
});

await test('live states come by themselves', async () => {
  await page.goto(`${server.url}/`);
  await page.getByRole('row', { name: /shop \/ production.*running/ }).waitFor();
  control.health = 'degraded';
  publish();
  await page.getByRole('row', { name: /shop \/ production.*degraded/ }).waitFor();
});

await test('of a thousand environments those are drawn that are seen, and each is reached', async () => {
  const all = Array.from({ length: 1000 }, (_, index) => `env-${String(index).padStart(4, '0')}`);
  control.environments = all;
  await page.goto(`${server.url}/`);
  await page.getByRole('link', { name: 'shop / env-0000' }).waitFor();
  assert.equal(await page.locator('table').getAttribute('aria-rowcount'), '1001');
  const drawn = () => page.locator('tbody th a').allTextContents();
  const seen = new Set();
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  for (let top = 0; top < height + 600; top += 600) {
    await page.evaluate((to) => {
      scrollTo(0, to);
      return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    }, top);
    const names = await drawn();
    assert.ok(names.length > 0 && names.length < 120, `${names.length} rows are drawn`);
    names.forEach((name) => seen.add(name.replace('shop / ', '')));
  }
  assert.deepEqual([...seen].sort(), all, 'some were never drawn');
  await page.getByRole('link', { name: 'shop / env-0999' }).waitFor();
  assert.equal(await page.locator('tbody tr[aria-rowindex]').last().getAttribute('aria-rowindex'), '1001');
  await page.getByRole('searchbox').fill('env-0500');
  await page.getByRole('link', { name: 'shop / env-0500' }).waitFor();
  await page.getByRole('searchbox').fill('');
  control.environments = ['production', 'staging'];
  publish();
  await page.getByRole('link', { name: 'shop / staging' }).waitFor();
});

await test('a lost connection is said with the time up to which all is known, and heals', async () => {
  goDown();
  const banner = page.getByText(/Connection lost\. What you see is as of \d\d:\d\d:\d\d/);
  await banner.waitFor();
  assert.equal(await page.locator('.stale-now').count(), 1);
  control.health = 'crashed';
  control.down = false;
  await page.getByRole('button', { name: 'Try now' }).click();
  await page.getByRole('row', { name: /shop \/ production.*crashed/ }).waitFor();
  await banner.waitFor({ state: 'detached' });
  assert.equal(await page.locator('.stale-now').count(), 0);
});

await test('a change whose answer was lost is said again under the same key, and done once', async () => {
  await page.goto(`${server.url}/projects/shop/production/variables`);
  await page.getByRole('button', { name: 'Add a variable' }).click();
  await page.getByLabel('Name').fill('COLOUR');
  await page.getByLabel('Value').fill('blue');
  control.dropAnswers = 1;
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('v4 is being deployed').waitFor();
  assert.deepEqual(control.patches, [{ set: { COLOUR: { value: 'blue', secret: false, build: false } }, no_deploy: false }]);
  // Chromium itself may say a request again whose connection broke; the key makes that harmless too.
  assert.equal(new Set(control.keys).size, 1);
});

await test('a CSRF token that is past is fetched anew', async () => {
  control.csrf = 'two';
  await page.getByRole('button', { name: 'Add a variable' }).click();
  await page.getByLabel('Name').fill('SIZE');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal(control.patches.length, 2);
});

await test('who is signed out in the middle of something signs in over it and loses nothing', async () => {
  await page.getByRole('button', { name: 'Edit many' }).click();
  await page.getByLabel('As text').fill('A=1\nB=2');
  control.signedIn = false;
  for (const stream of control.streams) stream.response.end('event: end\ndata: {"reason":"signed-out"}\n\n');
  control.streams.clear();
  await page.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Your session has ended' }).waitFor({ state: 'detached' });
  assert.equal(await page.getByLabel('As text').inputValue(), 'A=1\nB=2');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.deepEqual(Object.keys(control.patches[2].set), ['A', 'B']);
  control.health = 'running';
  publish();
  await page.getByRole('main').getByText('running').first().waitFor();
});

await test('what was refused to a session that had ended comes with the next', async () => {
  await page.goto(`${server.url}/projects/shop/production`);
  await page.getByRole('link', { name: 'Variables' }).waitFor();
  control.signedIn = false;
  // Not with the pointer: the page may have asked for something meanwhile, and the dialog lie over it already.
  await page.getByRole('link', { name: 'Variables' }).evaluate((link) => link.click());
  await page.getByRole('heading', { name: 'Your session has ended' }).waitFor();
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('rowheader', { name: 'GREETING' }).waitFor();
});

await test('a hidden tab holds no connection', async () => {
  assert.ok(control.streams.size > 0);
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await page.waitForFunction(() => document.querySelector('.stale-now') !== null);
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => false });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await page.waitForFunction(() => document.querySelector('.stale-now') === null);
});

assert.deepEqual(complaints, []);
await browser.close();
server.close();
console.log(`${passed} passed, 0 failed`);
