// Opens every story in real Chromium, on a desk in light and on a phone in dark, and fails for
// every violation that axe-core finds, every line on the console (what the policy of the page
// refuses is there), every request to another host, and every page that is wider than the screen.
// Pictures of the main stories go to screenshots/. Arguments choose stories by a part of their name.
import { mkdir, readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';
import { serve } from './serve.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const DESK = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
const PASSES = [
  { name: 'desk-light', theme: 'light', viewport: DESK },
  { name: 'phone-dark', theme: 'dark', viewport: PHONE },
];
const PICTURES = [
  ...PASSES,
  { name: 'desk-dark', theme: 'dark', viewport: DESK },
  { name: 'phone-light', theme: 'light', viewport: PHONE },
  { name: 'phone-russian', theme: 'light', viewport: PHONE, language: 'ru' },
];
const WORKERS = 2;

const axe = await readFile(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const chosen = process.argv.slice(2);
const server = await serve('dist-stories', 'stories.html');
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
const problems = [];
await mkdir('screenshots', { recursive: true });

async function open(page, id, pass) {
  const found = [];
  const listen = (message) => ['error', 'warning'].includes(message.type()) && found.push(`console: ${message.text()}`);
  const fail = (error) => found.push(`thrown: ${error.message}`);
  const watch = (request) => !request.url().startsWith(server.url) && !request.url().startsWith('data:') && found.push(`request to ${request.url()}`);
  page.on('console', listen).on('pageerror', fail).on('request', watch);
  await page.goto(`${server.url}/?story=${id}&theme=${pass.theme}&lang=${pass.language ?? 'en'}`);
  const ready = await page
    .waitForFunction(() => document.documentElement.dataset.ready, null, { timeout: 20_000 })
    .then((handle) => handle.jsonValue())
    .catch(() => 'the page never came to rest');
  if (ready !== 'yes') found.push(ready);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) found.push(`the page is ${wide} px wider than the screen`);
  page.off('console', listen).off('pageerror', fail).off('request', watch);
  return found;
}

/** Rows of long tables are alike: the first eleven stand for all. */
async function inspect(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run({ exclude: [['tbody tr:nth-child(n + 12)']] }, { resultTypes: ['violations'] }));
  return violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} (${(node.any[0] ?? node.all[0] ?? node.none[0])?.message ?? ''})`).join('; ')}`);
}

async function run(pass, stories) {
  const context = await browser.newContext({ viewport: pass.viewport, colorScheme: pass.theme, reducedMotion: 'reduce', locale: 'en', timezoneId: 'UTC' });
  const waiting = [...stories];
  await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      const page = await context.newPage();
      for (let story = waiting.shift(); story; story = waiting.shift()) {
        const began = Date.now();
        const found = [...(await open(page, story.id, pass)), ...(pass.check === false || story.large ? [] : await inspect(page))];
        if (process.env.TIMES) console.log(story.id, pass.name, Date.now() - began);
        for (const text of found) problems.push(`${story.id} (${pass.name}): ${text}`);
        if (story.main || chosen.length > 0) await page.screenshot({ path: `screenshots/${story.id}-${pass.name}.png` });
      }
      await page.close();
    }),
  );
  await context.close();
}

const first = await browser.newPage();
await first.goto(`${server.url}/`);
const all = await first.waitForFunction(() => window.weirStories).then((handle) => handle.jsonValue());
await first.close();
const stories = all.filter((story) => chosen.length === 0 || chosen.some((part) => story.id.includes(part)));
for (const pass of PASSES) await run(pass, stories);
for (const pass of PICTURES.slice(PASSES.length)) await run({ ...pass, check: false }, stories.filter((story) => story.main));

await browser.close();
server.close();
for (const text of problems) console.error(text);
console.log(`${stories.length} stories in ${PASSES.length} passes: ${problems.length} problems`);
process.exitCode = problems.length > 0 || stories.length === 0 ? 1 : 0;
