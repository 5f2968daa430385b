// Who means harm, in the console before a real Weir: texts that would be programs, paths that lead out,
// cookies that were set beforehand, requests that other sites make.
// `cargo test -p e2e -- console` starts a Weir for it. By hand, with one that has no project `evil`:
//   WEIR_URL=http://127.0.0.1:8081 WEIR_TOKEN="$(cat DIR/admin-token)" node e2e/hostile.mjs
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ADA, PASSWORD, api, comeIn, commit, finish, push, raw, run, scratch, show, step, token, until, url, visit, visitor } from './browser.mjs';

/** Would run if it were not shown as text; `visitor` notices. */
const IMAGE = '<img src=x onerror="window.__pwned=1">';
const SCRIPT = '"><script>window.__pwned=1</script><svg onload=window.__pwned=1>';
const BRANCH = '<img/src=x/onerror=window.__pwned=1>';
const HERE = '/projects/evil/production';
const VOLUME = '/v1/projects/evil/environments/production/volumes/data';

const APP = `import http.server, os, sys

HOSTILE = ${JSON.stringify(`line ${IMAGE} ${SCRIPT}`)}
for path, name in (("/etc", "way-out"), ("/etc/passwd", "passwd"), ("..", ${JSON.stringify(`to ${IMAGE}`)})):
    if not os.path.lexists("/data/" + name):
        os.symlink(path, "/data/" + name)
for name in (${JSON.stringify(IMAGE)}, "page.html"):
    with open("/data/" + name, "w") as file:
        file.write("<script>window.__pwned=1</script>")
print(HOSTILE, flush=True)
print("\\x1b]0;title\\x07\\x1b[2J\\x1b[31mred " + HOSTILE + " \\u202egnp", file=sys.stderr, flush=True)

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"up")
    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
`;

const page = await visitor();
const dialog = page.getByRole('dialog');
const source = join(scratch, 'evil');

/** Fails if anything on the page became more than text. */
async function onlyText() {
  const found = await page.evaluate(() => [...document.querySelectorAll('img, script, iframe, object, embed, svg[onload], [onerror], a[href^="javascript:"]')].map((element) => element.outerHTML).filter((html) => !/^<(img src="\/icon\.svg"|script [^>]*src="\/assets\/)/.test(html)));
  assert.deepEqual(found, [], page.url());
}

await step('the name of a person is text', async () => {
  await comeIn(page, IMAGE);
  await page.getByRole('navigation', { name: 'Main' }).getByText(IMAGE).waitFor();
  await page.goto(`${url}/people`);
  await page.getByRole('row').filter({ hasText: IMAGE }).waitFor();
  await onlyText();
});

await step('an app whose every text is a program goes live, and what it may name is checked', async () => {
  for (const name of [IMAGE, '../x', 'A', 'x/y', `${'x'.repeat(31)}`]) {
    const answer = await raw(url, '/v1/projects', { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify({ name }) });
    assert.equal(answer.status, 422, `${name}: ${answer.text}`);
  }
  await api('POST', '/projects', { name: 'evil' });
  await api('PATCH', '/projects/evil/environments/production/variables', { set: { TEXT: { value: SCRIPT, secret: false, build: false } }, no_deploy: true });
  await mkdir(source);
  await writeFile(join(source, 'app.py'), APP);
  await writeFile(join(source, 'requirements.txt'), '');
  await writeFile(join(source, 'Procfile'), 'web: python app.py\n');
  await writeFile(join(source, 'weir.toml'), '[volume.data]\npath = "/data"\n');
  await commit(source, `${IMAGE}\n\n${SCRIPT}`);
  await push('evil', source, token);
  assert.equal((await visit('evil', '/')).text, 'up');
});

await step('a push that is refused says why, in text', async () => {
  await writeFile(join(source, 'weir.toml'), `[volume.data]\npath = "/data"\n\n[process.web]\n'${IMAGE}' = 1\n`);
  await commit(source, SCRIPT);
  assert.ok((await push('evil', source, token, { fails: true })).includes(IMAGE));
  await page.goto(`${url}/activity`);
  await page.getByRole('region', { name: 'Tasks' }).getByRole('listitem').first().getByText('failed').waitFor();
  await onlyText();
  await page.getByRole('region', { name: 'Tasks' }).getByRole('listitem').first().getByRole('link').click();
  await page.getByText(IMAGE).first().waitFor();
  await onlyText();
});

await step('commits, variables, branches and tokens are text', async () => {
  await page.goto(`${url}${HERE}/releases`);
  await page.getByRole('row').filter({ hasText: IMAGE }).waitFor();
  await onlyText();
  await page.goto(`${url}${HERE}/variables`);
  await page.getByRole('row').filter({ hasText: SCRIPT }).waitFor();
  await onlyText();
  await page.goto(`${url}${HERE}/settings`);
  const branch = page.getByLabel('Branch');
  await branch.fill(BRANCH);
  await branch.press('Enter');
  await page.getByText('cannot be the name of a branch').waitFor();
  await onlyText();
  await page.goto(`${url}/settings/tokens`);
  await page.getByRole('button', { name: 'New token' }).click();
  await dialog.getByLabel('Name').fill(IMAGE);
  await dialog.getByRole('button', { name: 'New token' }).click();
  await dialog.locator('pre').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('rowheader', { name: IMAGE }).waitFor();
  await onlyText();
  await page.goto(`${url}/activity/audit`);
  await page.getByRole('row').filter({ hasText: 'POST /v1/tokens' }).first().waitFor();
  await onlyText();
});

await step('lines of logs are text, without what terminals obey', async () => {
  await page.goto(`${url}${HERE}/logs`);
  const line = page.getByRole('option').filter({ hasText: 'red line' });
  await line.click();
  const text = await page.getByRole('region', { name: 'The chosen line' }).locator('pre.whole').innerText();
  assert.ok(text.includes(`red line ${IMAGE} ${SCRIPT}`), text);
  assert.ok(!/[\u001b\u0007\u202e]/.test(text), JSON.stringify(text));
  await onlyText();
  await page.goto(`${url}${HERE}/logs?q=${encodeURIComponent(SCRIPT)}&process=${encodeURIComponent(IMAGE)}&line=${encodeURIComponent(IMAGE)}`);
  await page.getByRole('searchbox').waitFor();
  await page.getByText(/cannot be the name of an app/).waitFor();
  await onlyText();
});

await step('a request for help is text, and so is what goes along', async () => {
  await page.goto(`${url}/help`);
  await page.getByRole('button', { name: 'Ask for help' }).click();
  await dialog.getByLabel('In one line').fill(IMAGE);
  await dialog.getByLabel('What is wrong?').fill(`${SCRIPT}\n${IMAGE}`);
  await dialog.getByLabel('What it is about').selectOption('evil/production');
  await dialog.getByText('What will be sent').click();
  await dialog.getByText(/onerror/).first().waitFor();
  await onlyText();
  await dialog.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('heading', { name: IMAGE }).waitFor();
  await page.getByText(SCRIPT).first().waitFor();
  await onlyText();
  await page.goto(`${url}/help`);
  await page.getByRole('link', { name: IMAGE }).waitFor();
  await onlyText();
});

await step('names in a folder that is uploaded are text, and so is what is wrong with it', async () => {
  const folder = join(scratch, IMAGE);
  await mkdir(join(folder, '<b>app'), { recursive: true });
  await writeFile(join(folder, 'weir.toml'), `'${IMAGE}' = 1\n`);
  await writeFile(join(folder, 'Procfile'), 'web: python app.py\n');
  await writeFile(join(folder, 'requirements.txt'), '');
  await writeFile(join(folder, '<b>app', `${IMAGE}.txt`), IMAGE);
  await page.goto(`${url}${HERE}/deploy`);
  await page.locator('input[webkitdirectory]').setInputFiles(folder);
  await page.getByText(IMAGE).nth(1).waitFor();
  await onlyText();
});

await step('names of files and links are text, and files are never shown as pages', async () => {
  await page.goto(`${url}${HERE}/files/data`);
  await page.getByRole('rowheader', { name: `file ${IMAGE}` }).waitFor();
  await page.getByRole('rowheader', { name: /way-out.*\/etc/ }).waitFor();
  await onlyText();
  for (const path of ['/page.html', '/%3Cimg%20src=x%20onerror=%22window.__pwned=1%22%3E']) {
    const opened = await page.goto(`${url}${VOLUME}/content?path=${encodeURIComponent(path)}`).catch((error) => String(error));
    // The browser saves it; it does not become the page.
    assert.match(String(opened), /Download is starting/);
  }
  const answer = await raw(url, `${VOLUME}/content?path=/page.html`, { headers: { authorization: `Bearer ${token}` } });
  assert.match(answer.headers['content-security-policy'], /sandbox/);
  assert.match(answer.headers['content-disposition'], /^attachment/);
  assert.equal(answer.headers['x-content-type-options'], 'nosniff');
});

await step('no path leads out of the volume, and no link is followed', async () => {
  const headers = { authorization: `Bearer ${token}` };
  const encode = encodeURIComponent;
  const refused = async (path, options = {}) => {
    const answer = await raw(url, path, { ...options, headers: { ...headers, ...options.headers } });
    assert.ok(answer.status >= 400 && answer.status < 500, `${options.method ?? 'GET'} ${path}: ${answer.status} ${answer.text.slice(0, 200)}`);
    assert.ok(!/root:|127\.0\.0\.1\s/.test(answer.text), `${path}: ${answer.text.slice(0, 200)}`);
  };
  const json = { 'content-type': 'application/json' };
  for (const path of ['/../etc/passwd', '/..', '/../..', '/%2e%2e/etc/passwd', '/%2e%2e%2fetc%2fpasswd', '/..%2f..%2fetc%2fpasswd', '/x/../../etc/passwd', '/./page.html', '//page.html', '/page.html/', '\\..\\etc', '/way-out/passwd', '/passwd', '/way-out', '/page.html%00.txt', '/%00', 'page.html', '%2fetc/passwd']) {
    // As it stands, and encoded once more, as a browser does it.
    for (const text of [path.replace(/[\\ ]/g, encode), encode(path)]) {
      await refused(`${VOLUME}/content?path=${text}`);
      await refused(`${VOLUME}/archive?path=${text}&format=tar`);
      await refused(`${VOLUME}/content?path=${text}`, { method: 'PUT', body: 'x', headers: { 'content-type': 'application/octet-stream' } });
    }
    if (path !== '/way-out' && path !== '/passwd') await refused(`${VOLUME}/moves`, { method: 'POST', headers: json, body: JSON.stringify({ from: path, to: '/mine' }) });
    await refused(`${VOLUME}/folders`, { method: 'POST', headers: json, body: JSON.stringify({ path }) });
  }
  for (const path of ['..', '%2e%2e', '..%2f..%2f', '%2fetc', 'data%00', 'data%2f..%2fdata']) await refused(`/v1/projects/evil/environments/production/volumes/${path}/files`);
  for (const path of [`${VOLUME}/../../../../../platform`, `/assets/../../../etc/passwd`, '/assets/%2e%2e/%2e%2e/etc/passwd', '/assets/..%2f..%2fetc%2fpasswd']) await refused(path);
  // The archive has the links as links.
  const got = join(scratch, 'volume.tar');
  await writeFile(got, Buffer.from(await (await fetch(`${url}${VOLUME}/archive?path=/&format=tar`, { headers })).arrayBuffer()));
  const listed = await run('tar', ['tvf', got]);
  assert.match(listed, /^l.*way-out -> \/etc$/m);
  assert.ok(!listed.includes('way-out/'), listed);
});

await step('a cookie that was set beforehand lets nobody in, and each sign-in has a new one', async () => {
  const grace = await visitor();
  const fixed = 'A'.repeat(43);
  await grace.context().addCookies([{ name: 'weir', value: fixed, url }]);
  await comeIn(grace);
  const cookie = async () => (await grace.context().cookies()).find((one) => one.name === 'weir').value;
  const first = await cookie();
  const status = async (value) => (await raw(url, '/v1/me/sessions', { headers: { cookie: `weir=${value}` } })).status;
  assert.notEqual(first, fixed);
  assert.deepEqual([await status(fixed), await status(first)], [401, 200]);
  // Who signs in where somebody is signed in gets another session, and the one before ends.
  const again = await raw(url, '/v1/session', { method: 'POST', headers: { cookie: `weir=${first}`, 'content-type': 'application/json', origin: url }, body: JSON.stringify({ email: ADA, password: PASSWORD }) });
  assert.equal(again.status, 200, again.text);
  const second = /^weir=([^;]+); (.*)$/.exec([again.headers['set-cookie']].flat()[0]);
  assert.notEqual(second[1], first);
  for (const word of ['HttpOnly', 'SameSite=Strict', 'Path=/']) assert.ok(second[2].includes(word), second[2]);
  assert.deepEqual([await status(first), await status(second[1])], [401, 200]);
  await grace.context().close();
  await show(page);
});

await step('what other sites ask for in somebody’s name is refused', async () => {
  const cookie = `weir=${(await page.context().cookies()).find((one) => one.name === 'weir').value}`;
  const headers = { cookie, 'content-type': 'application/json' };
  const body = '{"name":"forged"}';
  const csrf = await page.evaluate(async () => (await (await fetch('/v1/session')).json()).csrf);
  const attempts = [
    headers,
    { ...headers, 'x-weir-csrf': 'x' },
    { ...headers, 'x-weir-csrf': csrf, origin: 'http://evil.example' },
    { ...headers, 'x-weir-csrf': csrf, origin: 'null' },
    { ...headers, 'x-weir-csrf': csrf, 'sec-fetch-site': 'cross-site' },
    { ...headers, 'content-type': 'text/plain', origin: 'http://evil.example' },
  ];
  for (const attempt of attempts) {
    const answer = await raw(url, '/v1/projects', { method: 'POST', headers: attempt, body });
    assert.equal(answer.status, 403, `${JSON.stringify(attempt)}: ${answer.status} ${answer.text}`);
  }
  const socket = { cookie, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  for (const origin of [{}, { origin: 'http://evil.example' }, { origin: `${url}.evil.example` }]) {
    const answer = await raw(url, '/v1/projects/evil/environments/production/exec?command=id', { headers: { ...socket, ...origin } });
    assert.equal(answer.status, 403, `${JSON.stringify(origin)}: ${answer.status} ${answer.text}`);
  }
  assert.ok(!(await api('GET', '/projects')).some((project) => project.name === 'forged'));
  // The page itself cannot be framed by another, and answers of the API cannot act as pages.
  assert.match((await raw(url, '/', { headers: { accept: 'text/html' } })).headers['content-security-policy'], /frame-ancestors 'none'/);
  await until('the session still holds', async () => page.evaluate(async () => (await fetch('/v1/me/sessions')).status === 200));
});

await finish();
