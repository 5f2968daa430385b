// What the scripts of this folder share: a real browser before a real Weir, which WEIR_URL and WEIR_TOKEN name.
//
// Whatever a page complains of fails the script at its end: errors on the console (what the policy of the
// page refuses is there), what is thrown, requests to other hosts, answers of 500 and above, text of
// tenants that was run, and what axe-core finds in the views that are looked at.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const url = process.env.WEIR_URL;
export const token = process.env.WEIR_TOKEN;
assert.ok(url && token, 'WEIR_URL and WEIR_TOKEN say which Weir it is');
export const PASSWORD = 'four words of no use';
export const ADA = 'ada@example.org';

/** The machine may be busy with other tests. */
const LIMIT_MS = 40_000;
const DESK = { width: 1200, height: 900 };
const PHONE = { width: 390, height: 844 };
/** Pictures are kept with the source, so they are small. */
const PICTURE_BYTES = 60 << 10;
/** Where they go, if they are wanted. */
const PICTURES = process.env.WEIR_E2E_SCREENSHOTS === '1' ? new URL('../../docs/images/', import.meta.url) : null;

const axe = await readFile(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
/** A folder for what is pushed, uploaded and downloaded; it is removed at the end. */
export const scratch = await mkdtemp(join(tmpdir(), 'weir-e2e-console-'));
export const complaints = [];
let shown;

/** A browser of somebody's own, with no cookies yet. */
export async function visitor() {
  const context = await browser.newContext({ locale: 'en', viewport: DESK, acceptDownloads: true });
  context.setDefaultTimeout(LIMIT_MS);
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`the policy refused ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
    Object.defineProperty(window, '__pwned', { set: () => console.error('the text of a tenant was run') });
  });
  const page = await context.newPage();
  watch(page);
  return page;
}

/** Notes whatever the page complains of. */
export function watch(page) {
  shown = page;
  page.on('console', (message) => message.type() === 'error' && !/Failed to load resource/.test(message.text()) && complaints.push(`${page.url()}: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on('request', (asked) => !asked.url().startsWith(url) && !/^(data|blob):/.test(asked.url()) && complaints.push(`a request to ${asked.url()}`));
  page.on('response', (response) => response.status() >= 500 && complaints.push(`${response.request().method()} ${response.url()} gave ${response.status()}`));
}

/** The page that a failure is told about. */
export function show(page) {
  shown = page;
  return page.bringToFront();
}

export async function step(name, run) {
  const began = Date.now();
  try {
    await run();
  } catch (error) {
    const text = await shown.evaluate(() => document.body.innerText).catch(() => '');
    console.error(`failed: ${name}\nat ${shown.url()}:\n${text.slice(0, 3000)}\n`, complaints);
    await end();
    throw error;
  }
  console.log(`ok: ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}

async function end() {
  await browser.close();
  await rm(scratch, { recursive: true, force: true });
}

/** Fails if any page complained. */
export async function finish() {
  await end();
  assert.deepEqual(complaints, []);
}

/**
 * Lets axe-core look at the page as it is, on a desk in light and on a phone in dark, and sees that
 * it is no wider than the screen. With `picture` it is drawn for the documentation, if that is wanted.
 */
export async function look(page, picture) {
  const passes = [
    { name: 'desk-light', viewport: DESK, colorScheme: 'light' },
    { name: 'phone-dark', viewport: PHONE, colorScheme: 'dark' },
  ];
  await page.waitForFunction(() => !document.querySelector('.skeleton'));
  for (const { name, viewport, colorScheme } of passes) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    if (picture && PICTURES) await draw(page, `${picture}-${name}.png`, viewport);
    await page.setViewportSize(viewport);
    const where = `${new URL(page.url()).pathname} (${name})`;
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) complaints.push(`${where}: the page is ${wide} px wider than the screen`);
    await page.evaluate(axe);
    // Rows of long tables are alike: the first eleven stand for all.
    const { violations } = await page.evaluate(() => window.axe.run({ exclude: [['tbody tr:nth-child(n + 12)']] }, { resultTypes: ['violations'] }));
    for (const one of violations) complaints.push(`${where}: ${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.target.join(' ')).join('; ')}`);
  }
  await page.setViewportSize(DESK);
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: null });
}

async function draw(page, file, { width, height }) {
  await page.setViewportSize({ width: Math.min(width, 960), height: Math.min(height, 500) });
  await mkdir(PICTURES, { recursive: true });
  const picture = await page.screenshot({ path: new URL(file, PICTURES).pathname });
  if (picture.length > PICTURE_BYTES) complaints.push(`${file} has ${picture.length} bytes`);
}

/** Makes the owner of a Weir that nobody has visited yet, or signs in as she. */
export async function comeIn(page, name = 'Ada') {
  await page.goto(`${url}/`);
  await page.getByRole('heading', { name: /^(Welcome|Sign in) to Weir$/ }).waitFor();
  if (await page.getByLabel('Admin token').isVisible()) {
    await page.getByLabel('Admin token').fill(token);
    await page.getByLabel('Name').fill(name);
  }
  await page.getByLabel('Mail address').fill(ADA);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
}

/** What the API says to the admin token; fails unless it is content. */
export async function api(method, path, body) {
  const response = await fetch(`${url}/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

/** A request as it is written, which no URL parser tidies up; the answer with its status, headers and text. */
export function raw(base, path, { method = 'GET', headers = {}, host, body } = {}) {
  const to = new URL(base);
  return new Promise((resolve, reject) => {
    const asked = request({ hostname: '127.0.0.1', port: to.port, path, method, headers: { host: host ?? to.host, ...headers }, timeout: LIMIT_MS }, (response) => {
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece)).on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(pieces).toString() }));
    });
    asked.on('error', reject).on('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer`)));
    asked.end(body);
  });
}

/** A page of the app in an environment, from the ingress. */
export async function visit(project, path) {
  const { environment } = await api('GET', `/projects/${project}/environments/production`);
  return raw(environment.url, path, { host: new URL(environment.url).host });
}

/** Looks until it is true, or tells what it was. */
export async function until(what, check, limitMs = LIMIT_MS) {
  const began = Date.now();
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() - began < limitMs, `${what}: not after ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Runs a program, and gives what it wrote; fails with that unless it ends well. */
export async function run(program, args, { cwd = scratch, env = {}, fails = false } = {}) {
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (piece) => (output += piece));
  child.stderr.on('data', (piece) => (output += piece));
  const status = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  assert.equal(status === 0, !fails, `${program} ${args.join(' ')} ended with ${status}:\n${output}`);
  return output;
}

/** Pushes to a project with a token, which git gets by its environment. */
export const push = (project, folder, secret, options = {}) =>
  run('git', ['-c', 'credential.helper=!f() { echo username=weir; echo "password=$PUSH_TOKEN"; }; f', 'push', '--quiet', `${url}/git/${project}`, 'main'], { cwd: folder, env: { PUSH_TOKEN: secret }, ...options });

/** Commits all that is in a folder. */
export async function commit(folder, message) {
  await run('git', ['init', '--quiet', '--initial-branch=main'], { cwd: folder });
  await run('git', ['add', '--all', '--force'], { cwd: folder });
  await run('git', ['commit', '--quiet', '--message', message], { cwd: folder });
}
