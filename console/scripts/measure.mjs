// Measures in Chromium how soon the built console is usable, and how smoothly 1,000 environments and
// 100,000 lines of a log scroll. Prints figures; they are of the machine that it runs on.
import { chromium } from 'playwright-core';
import { serve } from './serve.mjs';

const FRAMES = 120;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
const stories = await serve('dist-stories', 'stories.html');

const at = (values, share) => values.toSorted((left, right) => left - right)[Math.floor((values.length - 1) * share)];

async function open(id) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  await page.goto(`${stories.url}/?story=${id}`);
  await page.waitForFunction(() => document.documentElement.dataset.ready);
  return page;
}

/** Milliseconds from the beginning of the navigation until the overview is drawn. */
async function start() {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  await page.goto(`${stories.url}/?story=overview`);
  await page.waitForSelector('table tbody th');
  const ms = await page.evaluate(() => performance.now());
  await page.close();
  return ms;
}

async function scroll(id, selector, step) {
  const page = await open(id);
  const times = await page.evaluate(
    async ([wanted, pixels, frames]) => {
      const element = document.querySelector(wanted) ?? document.scrollingElement;
      element.scrollTop = 0;
      const found = [];
      let last = performance.now();
      for (let frame = 0; frame < frames; frame += 1) {
        element.scrollTop += pixels;
        await new Promise((resolve) => requestAnimationFrame(resolve));
        found.push(performance.now() - last);
        last = performance.now();
      }
      return found;
    },
    [selector, step, FRAMES],
  );
  await page.close();
  console.log(`${id}: a frame takes ${at(times, 0.5).toFixed(1)} ms in the middle, ${at(times, 0.95).toFixed(1)} ms at 95 %, ${at(times, 1).toFixed(1)} ms at most`);
}

await start();
const starts = [];
for (let round = 0; round < 5; round += 1) starts.push(await start());
console.log(`the overview is drawn after ${at(starts, 0.5).toFixed(0)} ms, ${at(starts, 1).toFixed(0)} ms at most (5 times)`);
await scroll('overview-many', 'html', 300);
await scroll('logs-many', '[role=listbox]', 5000);
await browser.close();
stories.close();
