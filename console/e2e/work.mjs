// Work in the console before a real Weir: from the first upload to a spending cap that stops an app.
// `cargo test -p e2e -- console` starts a Weir for it. By hand, with one that has no project `shop`:
//   WEIR_URL=http://127.0.0.1:8081 WEIR_TOKEN="$(cat DIR/admin-token)" WEIR_CONTROL_PID=PID node e2e/work.mjs
// WEIR_E2E_LARGE=1 puts a file of 1 GiB and 5,000 small ones into the volume, in place of 64 MiB and 500.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ADA, PASSWORD, api, comeIn, commit, finish, look, push, raw, run, scratch, show, step, until, url, visit, visitor, watch } from './browser.mjs';

const CONTROL = Number(process.env.WEIR_CONTROL_PID);
assert.ok(CONTROL > 0, 'WEIR_CONTROL_PID says which process answers the console; it is stopped for some seconds');
const LARGE = process.env.WEIR_E2E_LARGE === '1';
const [LARGE_MIB, MANY] = LARGE ? [1024, 5000] : [64, 500];
const SLOW_MS = LARGE ? 600_000 : 120_000;
const HERE = '/projects/shop/production';
const SECRET = 'not-to-be-seen-QX7';

const APP = `import http.server, os, sys, urllib.parse

VERSION = 1

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        for number in range(int(query.get("times", 1 if "say" in query else 0))):
            print(query["say"].replace("#", str(number)), file=sys.stderr if "loud" in query else sys.stdout, flush=True)
        body = ("version %d, greeting %s\\n" % (VERSION, os.environ.get("GREETING", "none"))).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
`;
/** Writes slowly enough that one sees the lines come, the first time. */
const RELEASE = `import os, time

for number in range(3):
    print("release line %d" % number, flush=True)
    time.sleep(0 if "GREETING" in os.environ else 2)
`;

const page = await visitor();
const dialog = page.getByRole('dialog');
const tab = (name) => page.getByRole('navigation', { name: 'shop/production' }).getByRole('link', { name, exact: true });
const says = async (path, text) => assert.ok((await visit('shop', path)).text.includes(text), `${path} does not say ${text}`);
const source = join(scratch, 'shop');
let toml;
let secret;

await step('a project is made', async () => {
  await comeIn(page);
  await look(page);
  await page.getByRole('link', { name: 'Create the first project' }).click();
  await page.getByLabel('Name', { exact: true }).fill('shop');
  await look(page);
  await page.getByRole('button', { name: 'Create the project' }).click();
  await page.getByText('git remote add weir').waitFor();
});

await step('a folder is uploaded, its weir.toml is proposed with reasons and changed, and it goes live', async () => {
  await mkdir(source);
  await writeFile(join(source, 'app.py'), APP);
  await writeFile(join(source, 'requirements.txt'), '');
  await writeFile(join(source, 'Procfile'), 'web: python app.py\n');
  await page.getByRole('link', { name: 'Upload a folder' }).click();
  await page.locator('input[webkitdirectory]').setInputFiles(source);
  await page.getByRole('heading', { name: 'What was found' }).waitFor();
  await page.getByRole('listitem').filter({ hasText: /python/i }).first().waitFor();
  const explained = page.getByRole('region', { name: 'What each line is for' });
  await explained.getByText('python app.py').waitFor();
  assert.ok((await explained.locator('.muted').count()) > 0, 'no line is explained');
  await page.getByText('What it costs at worst').waitFor();
  await look(page);
  const field = page.getByLabel('Change it here, if you like');
  toml = `${(await field.inputValue()).trimEnd()}\n\n[volume.data]\npath = "/data"\n`;
  await field.fill(toml);
  await page.getByLabel('What is it?').fill('By hand');
  await page.getByRole('button', { name: 'Deploy to shop/production' }).click();
  await page.getByText('It goes on …').waitFor();
  const steps = page.getByRole('list', { name: 'Steps' }).getByRole('listitem');
  await steps.nth(1).waitFor();
  const link = page.getByRole('alert').getByRole('link', { name: /shop\.localhost/ });
  await link.waitFor({ timeout: 120_000 });
  await look(page);
  const [opened] = await Promise.all([page.context().waitForEvent('page'), link.click()]);
  await opened.getByText('version 1, greeting none').waitFor();
  await opened.close();
});

await step('a token is made for git', async () => {
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('link', { name: 'Tokens' }).click();
  await page.getByRole('button', { name: 'New token' }).click();
  await dialog.getByLabel('Name').fill('git on the desk');
  await dialog.getByLabel('For').selectOption('shop');
  await dialog.getByRole('button', { name: 'New token' }).click();
  secret = (await dialog.locator('pre').innerText()).trim();
  await page.keyboard.press('Escape');
  await page.getByRole('rowheader', { name: 'git on the desk' }).waitFor();
  await look(page);
});

await step('a push is watched while it runs', async () => {
  await writeFile(join(source, 'app.py'), APP.replace('VERSION = 1', 'VERSION = 2'));
  await writeFile(join(source, 'Procfile'), 'web: python app.py\nrelease: python release.py\n');
  await writeFile(join(source, 'release.py'), RELEASE);
  await writeFile(join(source, 'weir.toml'), toml);
  await commit(source, 'The second version');
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Activity' }).click();
  const tasks = page.getByRole('region', { name: 'Tasks' }).getByRole('listitem');
  await tasks.first().waitFor();
  const before = await tasks.count();
  const pushed = push('shop', source, secret);
  await tasks.nth(before).waitFor();
  await tasks.first().getByText('running').waitFor();
  await tasks.first().getByRole('link').click();
  const log = page.getByRole('listbox', { name: 'Log of the task' });
  await log.getByText('release line 0').waitFor({ timeout: 120_000 });
  // It came while the command that wrote it still ran.
  assert.equal(await log.getByText('release line 2').count(), 0);
  await page.getByText('It goes on …').waitFor();
  await log.getByText('release line 2').waitFor();
  await page.getByText('It has ended.').waitFor({ timeout: 120_000 });
  await look(page);
  await pushed;
  await says('/', 'version 2');
});

await step('the release is listed with its commit and who made it', async () => {
  await page.goto(url + HERE);
  await tab('Releases').click();
  const id = (await run('git', ['rev-parse', '--short=8', 'HEAD'], { cwd: source })).trim();
  const row = page.getByRole('row').filter({ hasText: 'The second version' });
  await row.waitFor();
  const text = await row.innerText();
  for (const word of ['v2', id, 'git on the desk', 'push', 'live']) assert.ok(text.includes(word), `the release does not say ${word}: ${text}`);
  const first = await page.getByRole('row').filter({ hasText: 'By hand' }).innerText();
  for (const word of ['v1', ADA, 'upload']) assert.ok(first.includes(word), `the release does not say ${word}: ${first}`);
  await look(page, 'releases');
});

await step('lines of the log come by themselves, and are found by text and stream', async () => {
  await tab('Logs').click();
  const lines = page.getByRole('listbox', { name: 'Logs' }).getByRole('option');
  await page.getByText('Live.').waitFor();
  await visit('shop', '/?say=pear+#&times=1500'.replace('#', '%23'));
  await lines.filter({ hasText: 'pear 1499' }).waitFor();
  await visit('shop', '/?say=apple+on+stdout');
  await visit('shop', '/?say=apple+on+stderr&loud=1');
  await lines.filter({ hasText: 'apple on stderr' }).waitFor();
  await page.getByLabel('Search in the lines').fill('apple');
  await page.waitForURL(/[?&]q=apple/);
  await lines.filter({ hasText: 'pear' }).first().waitFor({ state: 'detached' });
  await until('only what was searched for', async () => (await lines.count()) === 2);
  await page.getByLabel('Stream').selectOption('stderr');
  await lines.filter({ hasText: 'stdout' }).waitFor({ state: 'detached' });
  await until('only what is filtered', async () => (await lines.allInnerTexts()).join().includes('apple on stderr') && (await lines.count()) === 1);
  // What is filtered is followed, too.
  await visit('shop', '/?say=apple+once+more&loud=1');
  await lines.filter({ hasText: 'apple once more' }).waitFor();
  await look(page);
});

await step('the log is paused, and a link to a line leads to that line', async () => {
  await page.goto(`${url}${HERE}/logs`);
  const lines = page.getByRole('listbox', { name: 'Logs' }).getByRole('option');
  await page.getByText('Live.').waitFor();
  await lines.filter({ hasText: 'apple once more' }).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await visit('shop', '/?say=plum+%23&times=3');
  await page.getByText('Paused; 3 newer lines.').waitFor();
  assert.equal(await lines.filter({ hasText: 'plum' }).count(), 0);
  await page.getByRole('button', { name: 'Go on' }).click();
  await lines.filter({ hasText: 'plum 2' }).waitFor();
  await page.getByLabel('Search in the lines').fill('pear 250');
  await lines.filter({ hasText: /pear 250$/ }).click();
  const line = page.getByRole('region', { name: 'The chosen line' });
  const link = await line.getByRole('region', { name: 'Text to copy' }).innerText();
  const other = await page.context().newPage();
  watch(other);
  // Whoever gets the link sees it among its neighbours.
  const alone = new URL(link.trim());
  alone.searchParams.delete('q');
  await other.goto(alone.href);
  await other.getByText('Around the line of the link.').waitFor();
  const neighbours = other.getByRole('listbox', { name: 'Logs' });
  const chosen = neighbours.getByRole('option', { selected: true });
  await chosen.waitFor();
  assert.match(await chosen.innerText(), /pear 250$/);
  assert.ok(await chosen.isVisible());
  await neighbours.getByRole('option').filter({ hasText: /pear 251$/ }).waitFor();
  await other.getByRole('button', { name: 'To the newest' }).click();
  await neighbours.getByRole('option').filter({ hasText: 'plum 2' }).waitFor();
  await other.close();
  await show(page);
});

await step('a variable that is changed makes a release; a secret is shown to nobody', async () => {
  await page.goto(url + HERE);
  await tab('Variables').click();
  await page.getByRole('button', { name: 'Add a variable' }).click();
  await dialog.getByLabel('Name').fill('GREETING');
  await dialog.getByLabel('Value').fill('hello');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('row').filter({ hasText: 'GREETING' }).getByText('hello').waitFor();
  await until('it is live', async () => (await visit('shop', '/')).text.includes('greeting hello'), 60_000);
  await page.getByRole('button', { name: 'Add a variable' }).click();
  await dialog.getByLabel('Name').fill('KEY');
  await dialog.getByLabel('Value').fill(SECRET);
  await dialog.getByLabel('Secret: sealed, and never shown again').check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  await until('it is live', async () => (await api('GET', '/projects/shop/environments/production')).environment.release === 4, 60_000);
  await page.reload();
  await page.getByRole('row').filter({ hasText: 'KEY' }).getByText('sealed').waitFor();
  await look(page);
  await page.getByRole('button', { name: 'Replace KEY' }).click();
  assert.equal(await dialog.getByLabel('Value').inputValue(), '');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Edit many' }).click();
  assert.equal(await dialog.getByLabel('As text').inputValue(), 'GREETING=hello');
  await page.keyboard.press('Escape');
  const at = '/v1/projects/shop/environments/production';
  for (const path of [`${at}/variables`, at, `${at}/releases`, `${at}/deployments`, `${at}/releases/3/difference?to=4`, '/v1/tasks', '/v1/events', '/v1/audit', '/v1/help-context?scope=shop/production']) {
    const { status, body } = await page.evaluate(async (asked) => {
      const response = await fetch(asked, { headers: { accept: 'application/json' } });
      return { status: response.status, body: await response.text() };
    }, path);
    assert.equal(status, 200, `${path}: ${body}`);
    assert.ok(!body.includes(SECRET), `${path} shows the secret`);
  }
  assert.ok(!(await page.content()).includes(SECRET));
});

await step('a rollback says what will change, and does it', async () => {
  await tab('Releases').click();
  await page.getByRole('button', { name: 'Roll back v2' }).click();
  await dialog.getByText('What changes:').waitFor();
  const text = await dialog.innerText();
  for (const word of [/GREETING: removed/, /KEY: removed \(secret\)/]) assert.match(text, word);
  await look(page);
  await dialog.getByRole('button', { name: 'Roll back to v2' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('row').filter({ hasText: 'The second version' }).getByText('live', { exact: true }).waitFor({ timeout: 60_000 });
  await says('/', 'greeting none');
});

/** Names that a file may have, with what is in it. */
const NAMES = ['plain.txt', 'with space & "quotes" \'too\'.txt', '<script>window.__pwned=1', '<img src=x onerror="window.__pwned=1">.txt', 'Привет, мир.txt', '-rf', '--help', '100%.txt', '%2e%2e', '$(touch owned)', '#a?b=c&d', '..hidden', 'back\\slash', 'right\u202Eto-left.txt', `${'long'.repeat(60)}.txt`];
const files = (path) => `/projects/shop/environments/production/volumes/data/files?path=${encodeURIComponent(path)}`;

async function send(chosen, { folder = false, replace = false } = {}) {
  await page.locator(folder ? 'input[webkitdirectory]' : 'input[type=file]:not([webkitdirectory])').setInputFiles(chosen);
  if (replace) await dialog.getByLabel('Replace files that are there already').check();
  await dialog.getByRole('button', { name: 'Upload' }).click();
  await dialog.waitFor({ state: 'detached' });
}

async function download(link) {
  // Chromium drops what is asked for beyond ten downloads a second.
  await page.waitForTimeout(150);
  const [event] = await Promise.all([page.waitForEvent('download'), link.click()]);
  return { path: await event.path(), name: event.suggestedFilename() };
}

async function sum(path) {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest('hex');
}

await step('files of any name are uploaded, shown as they are, and downloaded', async () => {
  await page.goto(url + HERE);
  await tab('Files').click();
  await look(page);
  await page.getByRole('link', { name: 'data', exact: true }).click();
  await page.getByText('This folder is empty').waitFor();
  await send(NAMES.map((name) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(`this is ${name}\n`) })));
  await page.getByRole('heading', { name: `${NAMES.length} entries` }).waitFor();
  const kept = (await api('GET', files('/'))).entries.map((entry) => entry.name);
  assert.deepEqual(kept.toSorted(), NAMES.toSorted());
  for (const name of NAMES) {
    const link = page.getByRole('link', { name: `Download ${name}`, exact: true });
    const { path, name: proposed } = await download(link).catch((error) => assert.fail(`${name}: ${error}`));
    assert.equal(await readFile(path, 'utf8'), `this is ${name}\n`, name);
    // Others browsers make tamer themselves.
    if (/^\p{L}[\p{L}\d ,.-]{1,40}$/u.test(name)) assert.equal(proposed, name);
  }
  await look(page);
});

await step('a file is renamed, edited and removed; what somebody else changed is not overwritten', async () => {
  await page.getByRole('button', { name: 'Rename -rf', exact: true }).click();
  await dialog.getByLabel('Name').fill('a/b');
  await dialog.getByText('A name cannot contain a slash.').waitFor();
  await dialog.getByLabel('Name').fill('переименован "x".txt');
  await dialog.getByRole('button', { name: 'Rename' }).click();
  await page.getByRole('rowheader', { name: 'переименован "x".txt' }).waitFor();
  await page.getByRole('button', { name: 'Edit plain.txt', exact: true }).click();
  await dialog.getByLabel('Content').fill('changed\n«ü»\n');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  const content = async () => (await fetch(`${url}/v1/projects/shop/environments/production/volumes/data/content?path=/plain.txt`, { headers: { authorization: `Bearer ${process.env.WEIR_TOKEN}` } })).text();
  assert.equal(await content(), 'changed\n«ü»\n');
  await page.getByRole('button', { name: 'Edit plain.txt', exact: true }).click();
  await dialog.getByLabel('Content').fill('mine');
  await run('weir', ['exec', '--project', 'shop', '--', 'sh', '-c', 'echo theirs > /data/plain.txt']);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByRole('alert').waitFor();
  assert.equal(await content(), 'theirs\n');
  page.once('dialog', (asked) => void asked.accept());
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  // A line break cannot be typed into a field.
  await run('weir', ['exec', '--project', 'shop', '--', 'sh', '-c', 'printf x > "/data/two\nlines"; ln -s /etc /data/link']);
  await page.reload();
  for (const name of ['two\ufffdlines', 'right\u202Eto-left.txt', '<script>window.__pwned=1', '--help']) {
    await page.getByRole('button', { name: `Remove ${name}`, exact: true }).click();
    await dialog.getByRole('textbox').fill('something else');
    assert.ok(await dialog.getByRole('button', { name: 'Remove' }).isDisabled());
    await dialog.getByRole('textbox').fill(name.replace(/[\ufffd\u202E]/, ''));
    await dialog.getByRole('button', { name: 'Remove' }).click();
    await dialog.waitFor({ state: 'detached' });
    await until(`${name} is gone`, async () => !(await api('GET', files('/'))).entries.some((entry) => entry.name === name));
  }
});

await step(`a file of ${LARGE_MIB} MiB goes up and comes down as it was`, async () => {
  const path = join(scratch, 'large.bin');
  const file = await open(path, 'w');
  const piece = randomBytes(1 << 20);
  for (let at = 0; at < LARGE_MIB; at += 1) {
    piece.writeUInt32BE(at);
    await file.write(piece);
  }
  await file.close();
  let began = Date.now();
  await send(path);
  const link = page.getByRole('link', { name: 'Download large.bin' });
  await link.waitFor({ timeout: SLOW_MS });
  const up = Date.now() - began;
  began = Date.now();
  const got = await download(link);
  const rate = (ms) => `${Math.round((LARGE_MIB * 1000) / ms)} MiB/s`;
  console.log(`files: ${LARGE_MIB} MiB up in ${up} ms (${rate(up)}), down in ${Date.now() - began} ms (${rate(Date.now() - began)})`);
  assert.equal(await sum(got.path), await sum(path));
});

await step(`a folder with ${MANY} files goes up, is listed, and comes down as an archive`, async () => {
  const folder = join(scratch, 'photos of ä');
  await mkdir(join(folder, 'deep'), { recursive: true });
  for (let number = 0; number < MANY; number += 1) await writeFile(join(folder, number % 2 ? 'deep' : '', `file ${String(number).padStart(5, '0')}`), `number ${number}\n`);
  const began = Date.now();
  await send(folder, { folder: true });
  await page.getByRole('link', { name: 'photos of ä', exact: true }).click({ timeout: SLOW_MS });
  await page.getByRole('heading', { name: `${Math.min(1000, MANY / 2 + 1).toLocaleString('en')} entries` }).waitFor({ timeout: SLOW_MS });
  console.log(`files: ${MANY} small files up and listed in ${Date.now() - began} ms`);
  const got = await download(page.getByRole('link', { name: 'As an archive' }));
  await mkdir(join(scratch, 'unpacked'));
  await run('tar', ['xzf', got.path, '-C', join(scratch, 'unpacked')]);
  const found = (await readdir(join(scratch, 'unpacked'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  assert.equal(found.length, MANY);
  for (const entry of [found[0], found.at(-1)]) assert.equal(await readFile(join(entry.parentPath ?? entry.path, entry.name), 'utf8'), `number ${Number(entry.name.slice(5))}\n`);
  await page.getByRole('navigation', { name: 'In the volume' }).getByRole('link', { name: 'data' }).click();
  await page.getByRole('button', { name: 'Remove photos of ä' }).click();
  await dialog.getByRole('textbox').fill('photos of ä');
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('link', { name: 'photos of ä', exact: true }).waitFor({ state: 'detached', timeout: SLOW_MS });
});

await step('a terminal in the instance', async () => {
  await page.goto(url + HERE);
  await tab('Terminal').click();
  await page.getByRole('button', { name: 'Start' }).click();
  const screen = page.locator('.xterm-rows');
  await screen.getByText(/[#$]/).first().waitFor();
  await page.keyboard.type('echo "sum: $((20 + 22))"; cat /data/plain.txt\n');
  await screen.getByText('sum: 42').waitFor();
  await screen.getByText('theirs').waitFor();
  await look(page);
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type('exit 3\n');
  await page.getByText('The command has ended with status 3.').waitFor();
});

await step('what is out of date is said while control does not answer, and heals', async () => {
  await tab('Overview').click();
  await page.getByRole('button', { name: 'Restart' }).waitFor();
  await page.evaluate(() => (window.stays = true));
  const lost = page.getByText(/Connection lost\. What you see is as of/);
  process.kill(CONTROL, 'SIGSTOP');
  try {
    await lost.waitFor();
    assert.equal(await page.locator('.stale-now').count(), 1);
    // Visitors notice nothing of it. (The address is not asked of the API, which is stopped.)
    const at = await page.getByRole('link', { name: /Open/ }).getAttribute('href');
    assert.equal((await raw(at, '/', { host: new URL(at).host })).status, 200);
  } finally {
    process.kill(CONTROL, 'SIGCONT');
  }
  await lost.waitFor({ state: 'detached', timeout: 60_000 });
  assert.equal(await page.locator('.stale-now').count(), 0);
  await api('POST', '/projects/shop/environments/production/pause');
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Restart' }).waitFor();
  assert.ok(await page.evaluate(() => window.stays), 'the page was loaded anew');
});

await step('the keyboard alone: signing in, going to the project, rolling back', async () => {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in to Weir' }).waitFor();
  const focused = () => page.evaluate(() => [document.activeElement?.id && document.querySelector(`label[for="${document.activeElement.id}"]`)?.textContent, document.activeElement?.getAttribute('aria-label'), document.activeElement?.textContent].map((text) => (text ?? '').replace(/\s+/g, ' ').trim()));
  const reach = async (name) => {
    for (let presses = 0; presses < 80; presses += 1) {
      if ((await focused()).includes(name)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`the Tab key does not lead to ${name}`);
  };
  await reach('Mail address');
  await page.keyboard.type(ADA);
  await reach('Password');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.getByRole('option', { name: 'shop/production' }).waitFor();
  await page.keyboard.type('shop/prod');
  await page.keyboard.press('Enter');
  await page.waitForURL(`**${HERE}`);
  await reach('Releases');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Roll back v4' }).waitFor();
  await reach('Roll back v4');
  await page.keyboard.press('Enter');
  await dialog.getByText('What changes:').waitFor();
  await reach('Roll back to v4');
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await until('it is rolled back', async () => (await visit('shop', '/')).text.includes('greeting hello'), 60_000);
});

await step('a cap below what is spent pauses the app, and the console says so by itself', async () => {
  await api('POST', '/prices', { toml: 'currency = "EUR"\n\n[prices]\nrequests = "300.00 per million"\ncpu = "1.80 per core-hour"\nmemory = "20.00 per GiB-month"\nmemory-frozen = "0.10 per GiB-month"\negress = "0.01 per GB"\nbuild-cpu = "free"\nbuild-memory = "free"\nstorage = "0.0001 per GB-month"\n' });
  for (let asked = 0; asked < 40; asked += 1) await visit('shop', '/');
  const watcher = await page.context().newPage();
  watch(watcher);
  await watcher.goto(url + HERE);
  await watcher.getByText('running').first().waitFor();
  await watcher.evaluate(() => (window.stays = true));
  await show(page);
  await page.goto(`${url}/projects/shop/costs`);
  const setCap = async (amount) => {
    await page.getByRole('button', { name: /^(Change the cap|Set a cap) shop$/ }).click();
    await dialog.getByLabel(/Most that it may cost/).fill(amount);
    await dialog.getByLabel('Let the money out slowly').uncheck();
    await dialog.getByText('What that means').waitFor();
  };
  await setCap('0.0001');
  await dialog.getByText(/It is below what is spent and held already/).waitFor();
  await look(page);
  await dialog.getByRole('button', { name: 'Set the cap' }).click();
  await dialog.waitFor({ state: 'detached' });
  // What is held already may still be used up.
  await until('visitors are told', async () => (await visit('shop', '/')).status === 402, 60_000);
  await show(watcher);
  await watcher.getByText('out of money').waitFor();
  await watcher.getByRole('alert').filter({ hasText: /cap/i }).waitFor();
  await look(watcher);
  await show(page);
  await look(page);
  await setCap('50');
  await dialog.getByRole('button', { name: 'Set the cap' }).click();
  await dialog.waitFor({ state: 'detached' });
  await until('it runs again', async () => (await visit('shop', '/')).status === 200);
  await show(watcher);
  await watcher.getByText('out of money').waitFor({ state: 'detached' });
  await watcher.getByText('running').first().waitFor();
  assert.ok(await watcher.evaluate(() => window.stays), 'the page was loaded anew');
  await watcher.close();
});

await step('the other views have nothing to complain of', async () => {
  for (const [path, heading, picture] of [['/', 'Overview', 'overview'], [HERE, /production/, 'environment'], [`${HERE}/charts`, /production/], [`${HERE}/domains`, /production/], [`${HERE}/settings`, /production/], ['/projects/shop', 'shop'], ['/costs', /Costs/], ['/costs/invoices', 'Invoices'], ['/activity', 'Activity'], ['/activity/audit', /Audit/], ['/people', 'People'], ['/help', 'Help'], ['/settings', 'Settings']]) {
    await page.goto(url + path);
    await page.getByRole('heading', { level: 1, name: heading }).waitFor();
    await look(page, picture);
  }
});

await finish();
