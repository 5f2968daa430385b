// The console and a real Weir, in a real browser: from the first visit to roles that were taken away.
// `cargo test -p e2e -- console` starts a Weir for it. By hand, with one that nobody has visited yet:
//   WEIR_URL=http://127.0.0.1:8081 WEIR_TOKEN="$(cat DIR/admin-token)" node e2e/people.mjs
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { ADA, PASSWORD, finish, look, show, step, token, url, visitor } from './browser.mjs';

const NEW_PASSWORD = 'ключ four other words 100% ü';
const GRACE = 'grace@example.org';

/** The code of now, or of a later step: each is good once. */
function codeOf(secret, later = 0) {
  const bits = [...secret].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const sum = createHmac('sha1', key).update(counter).digest();
  return String((sum.readUInt32BE(sum[19] & 15) & 0x7fff_ffff) % 1_000_000).padStart(6, '0');
}

const overview = (page) => page.getByRole('heading', { name: 'Overview' }).waitFor();
const sections = (page) => page.getByRole('navigation', { name: 'Main' });
const sessions = (page) => page.getByRole('region', { name: 'Where you are signed in' }).getByRole('row');

async function signIn(page, email, password) {
  await page.getByRole('heading', { name: 'Sign in to Weir' }).waitFor();
  await page.getByLabel('Mail address').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

async function giveCode(page, code) {
  await page.getByLabel('Code', { exact: true }).fill(code);
  await page.keyboard.press('Enter');
}

/** What the API says to this browser, by its cookie alone. */
const status = (page, path) => page.evaluate(async (at) => (await fetch(at)).status, path);

const ada = await visitor();
const elsewhere = await visitor();
const grace = await visitor();
let secret;
let recovery;
let link;

await step('the page comes with its headers, and nothing else does', async () => {
  const response = await ada.goto(`${url}/`);
  assert.equal(response.status(), 200);
  assert.match(response.headers()['content-security-policy'], /^default-src 'none'; script-src 'self';.*require-trusted-types-for 'script'/);
  assert.ok(['br', 'gzip'].includes(response.headers()['content-encoding']));
  const script = /\/assets\/[\w.-]+\.js/.exec(await response.text())[0];
  const asset = await fetch(url + script, { method: 'HEAD' });
  assert.match(asset.headers.get('cache-control'), /immutable/);
  assert.equal((await fetch(`${url}/assets/index-past.js`, { headers: { accept: 'text/html' } })).status, 404);
  assert.equal((await fetch(`${url}/projects/shop`, { headers: { accept: 'application/json' } })).status, 404);
  assert.equal((await fetch(`${url}/projects/shop`, { headers: { accept: 'text/html' } })).status, 200);
});

await step('the first visit makes the owner, with the admin token only', async () => {
  await show(ada);
  await ada.getByRole('heading', { name: 'Welcome to Weir' }).waitFor();
  await look(ada);
  await ada.getByLabel('Admin token').fill('weir_wrong');
  await ada.getByLabel('Name').fill('Ada');
  await ada.getByLabel('Mail address').fill(ADA);
  await ada.getByLabel('Password').fill(PASSWORD);
  await ada.getByRole('button', { name: 'Begin' }).click();
  await ada.getByRole('alert').getByText('this is not the admin token').waitFor();
  await ada.getByLabel('Admin token').fill(token);
  await ada.getByRole('button', { name: 'Begin' }).click();
  await overview(ada);
  const cookies = (await ada.context().cookies()).filter((cookie) => cookie.name === 'weir');
  assert.deepEqual(cookies.map(({ httpOnly, sameSite, path }) => ({ httpOnly, sameSite, path })), [{ httpOnly: true, sameSite: 'Strict', path: '/' }]);
  assert.equal(await ada.evaluate(() => document.cookie), '');
});

await step('who is signed out signs in, and comes to the address that was asked for', async () => {
  await ada.getByRole('button', { name: 'Sign out' }).click();
  await ada.getByRole('heading', { name: 'Sign in to Weir' }).waitFor();
  assert.equal(await status(ada, '/v1/me/sessions'), 401);
  await ada.goto(`${url}/settings`);
  await signIn(ada, ADA, 'not this one at all');
  await ada.getByRole('alert').getByText('the mail address or the password is wrong').waitFor();
  await signIn(ada, ADA.toUpperCase(), PASSWORD);
  await ada.getByRole('heading', { name: 'Second factor' }).waitFor();
});

await step('a second factor is on once its code was right', async () => {
  await ada.getByRole('button', { name: 'Set up a second factor' }).click();
  const dialog = ada.getByRole('dialog');
  assert.match(await dialog.getByRole('img', { name: 'QR code' }).locator('path').getAttribute('d'), /^M0 0h7v1h-7z/);
  secret = (await dialog.locator('pre').innerText()).trim();
  const wrong = String((Number(codeOf(secret)) + 1) % 1_000_000).padStart(6, '0');
  await giveCode(ada, wrong);
  await dialog.getByText('the code is wrong').waitFor();
  await giveCode(ada, codeOf(secret));
  await ada.getByRole('heading', { name: 'Recovery codes' }).waitFor();
  await look(ada);
  recovery = (await ada.getByRole('dialog').locator('pre').innerText()).trim().split('\n');
  assert.equal(recovery.length, 10);
  await ada.getByRole('button', { name: 'I have kept them' }).click();
  await ada.getByRole('button', { name: 'Switch it off' }).waitFor();
});

await step('without the code the password opens nothing', async () => {
  await show(elsewhere);
  await elsewhere.goto(`${url}/settings`);
  await signIn(elsewhere, ADA, PASSWORD);
  await elsewhere.getByLabel('Code', { exact: true }).waitFor();
  await look(elsewhere);
  assert.equal(await status(elsewhere, '/v1/me/sessions'), 401);
  await giveCode(elsewhere, 'no-such-code');
  await elsewhere.getByRole('alert').getByText('the code is wrong').waitFor();
  await giveCode(elsewhere, codeOf(secret, 1));
  await sessions(elsewhere).nth(2).waitFor();
});

await step('a changed password ends the other sessions, and this one goes on', async () => {
  await show(ada);
  await ada.reload();
  await sessions(ada).nth(2).waitFor();
  await ada.getByLabel('Present password').fill(PASSWORD);
  await ada.getByLabel('New password').fill(NEW_PASSWORD);
  await ada.getByRole('button', { name: 'Change the password' }).click();
  await ada.getByText(/1 other session/i).first().waitFor();
  assert.equal(await status(ada, '/v1/me/sessions'), 200);
  assert.equal(await status(elsewhere, '/v1/me/sessions'), 401);
  await ada.getByRole('button', { name: 'Save' }).waitFor();
  await ada.getByLabel('Name').fill('Ada Byron');
  await ada.getByRole('button', { name: 'Save' }).click();
  await sections(ada).getByText('Ada Byron').waitFor();
});

await step('a recovery code lets in once, and a session can be ended from another', async () => {
  await show(elsewhere);
  await elsewhere.goto(`${url}/settings`);
  await signIn(elsewhere, ADA, NEW_PASSWORD);
  await elsewhere.getByLabel('Code', { exact: true }).waitFor();
  await giveCode(elsewhere, recovery[0]);
  await sessions(elsewhere).nth(2).waitFor();
  await show(ada);
  await ada.reload();
  await sessions(ada).nth(2).waitFor();
  await ada.getByRole('button', { name: /^End (?!all)/ }).click();
  await sessions(ada).nth(2).waitFor({ state: 'detached' });
  assert.equal(await status(elsewhere, '/v1/me/sessions'), 401);
  await show(elsewhere);
  await elsewhere.reload();
  await signIn(elsewhere, ADA, NEW_PASSWORD);
  await elsewhere.getByLabel('Code', { exact: true }).waitFor();
  await giveCode(elsewhere, recovery[0]);
  await elsewhere.getByRole('alert').getByText('was used already').waitFor();
});

await step('the second factor is switched off with the password, whatever letters it has', async () => {
  await show(ada);
  await ada.getByRole('button', { name: 'Switch it off' }).click();
  await ada.getByRole('dialog').getByLabel('Present password').fill(NEW_PASSWORD);
  await ada.getByRole('dialog').getByRole('button', { name: 'Switch it off' }).click();
  await ada.getByRole('button', { name: 'Set up a second factor' }).waitFor();
});

await step('an invitation is made for a project', async () => {
  const made = await fetch(`${url}/v1/projects`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: '{"name":"shop"}' });
  assert.equal(made.status, 201);
  await sections(ada).getByRole('link', { name: 'People' }).click();
  await ada.getByRole('button', { name: 'Invite' }).click();
  const dialog = ada.getByRole('dialog');
  await dialog.getByLabel('Mail address').fill(GRACE);
  await dialog.getByLabel('Role', { exact: true }).selectOption('developer');
  await dialog.getByLabel('Where', { exact: true }).selectOption('shop');
  await dialog.getByRole('button', { name: 'Make the invitation' }).click();
  link = (await dialog.locator('pre').innerText()).trim();
  await look(ada);
  assert.ok(link.startsWith(`${url}/invitation#`), link);
  await ada.keyboard.press('Escape');
});

await step('who has the link comes in, once, with that role and no other', async () => {
  await show(grace);
  await grace.goto(link);
  await grace.getByText(`${ADA} invites you:`).waitFor();
  await grace.getByText('developer: shop').waitFor();
  await look(grace);
  await grace.getByLabel('Name').fill('Grace');
  await grace.getByLabel('Password').fill(PASSWORD);
  await grace.getByRole('button', { name: 'Accept' }).click();
  await overview(grace);
  assert.equal(await sections(grace).getByRole('link', { name: 'People' }).count(), 0);
  assert.equal(await sections(grace).getByRole('link', { name: 'Costs' }).count(), 1);
  assert.equal(await status(grace, '/v1/projects/shop'), 200);
  assert.equal(await status(grace, '/v1/projects/other'), 404);
  assert.equal(await status(grace, '/v1/people'), 403);
  assert.equal(await grace.evaluate(async () => (await fetch('/v1/projects/shop', { method: 'DELETE' })).status), 403);
  await show(elsewhere);
  await elsewhere.goto(link);
  await elsewhere.getByText('there is no such invitation, or it holds no more').waitFor();
});

await step('a role that was changed holds at once', async () => {
  await show(ada);
  await ada.reload();
  await ada.getByRole('button', { name: 'Change roles Grace' }).click();
  await ada.getByRole('dialog').getByLabel('Role', { exact: true }).selectOption('viewer');
  await ada.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await ada.getByRole('row', { name: /Grace.*viewer/ }).waitFor();
  assert.equal(await status(grace, '/v1/caps'), 403);
  await show(grace);
  await grace.reload();
  await overview(grace);
  assert.equal(await sections(grace).getByRole('link', { name: 'Costs' }).count(), 0);
});

await step('who is suspended is out, and comes back by a link to set a password', async () => {
  await show(ada);
  await ada.getByRole('button', { name: 'Suspend Grace' }).click();
  await ada.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
  await ada.getByRole('button', { name: 'Let in again Grace' }).waitFor();
  await show(grace);
  await grace.reload();
  await signIn(grace, GRACE, PASSWORD);
  await grace.getByRole('alert').getByText('the mail address or the password is wrong').waitFor();
  await show(ada);
  await ada.getByRole('button', { name: 'Let in again Grace' }).click();
  await ada.getByRole('dialog').getByRole('button', { name: 'Let in again' }).click();
  await ada.getByRole('button', { name: 'New password Grace' }).click();
  await ada.getByRole('dialog').getByRole('button', { name: 'Make the link' }).click();
  link = (await ada.getByRole('dialog').locator('pre').innerText()).trim();
  await ada.keyboard.press('Escape');
  await show(grace);
  await grace.goto(link);
  await grace.getByLabel('New password').fill(NEW_PASSWORD);
  await grace.getByRole('button', { name: 'Change the password' }).click();
  await overview(grace);
});

await step('all of it is in the audit log', async () => {
  await show(ada);
  await ada.goto(`${url}/activity/audit`);
  for (const [operation, who] of [['POST /v1/setup', ADA], ['POST /v1/invitations/accept', GRACE], ['PUT /v1/people/{person}/grants', ADA], ['POST /v1/password-resets/use', GRACE]]) {
    await ada.getByRole('row').filter({ hasText: operation }).filter({ hasText: who }).first().waitFor();
  }
  await ada.getByRole('row').filter({ hasText: 'POST /v1/setup' }).filter({ hasText: 'refused' }).waitFor();
});

await finish();
