//! The page of stories: a list, or one of them with `?story=`. Only built by `--mode stories`.

import { mount } from 'svelte';
import App from '../App.svelte';
import { stopClock } from '../lib/clock.svelte';
import { useLanguage, type Language } from '../lib/i18n.svelte';
import { setTheme, type Theme } from '../lib/preferences.svelte';
import { start } from '../start';
import { type Actor, stories, world } from './stories';
import { AT } from './data';
import { install } from './fake';

const asked = new URLSearchParams(location.search);
const story = stories.find((one) => one.id === asked.get('story'));
const target = document.getElementById('app') ?? document.body;

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits until the page has stood still for a moment. */
async function settled(): Promise<void> {
  let last = Date.now();
  const watch = new MutationObserver(() => (last = Date.now()));
  watch.observe(document.documentElement, { subtree: true, childList: true, attributes: true, characterData: true });
  const end = Date.now() + 3000;
  while (Date.now() - last < 150 && Date.now() < end) await wait(25);
  watch.disconnect();
}

/** Machines differ in how soon something is there. */
async function appears<T>(find: () => T | null | undefined): Promise<T | null> {
  const end = Date.now() + 5000;
  for (let found = find(); ; found = find()) {
    if (found || Date.now() > end) return found ?? null;
    await wait(50);
  }
}

const nameOf = (element: Element) => (element.getAttribute('aria-label') ?? element.textContent ?? '').replace(/\s+/g, ' ').trim();

const actor: Actor = {
  wait,
  async press(name) {
    const all = () => [...document.querySelectorAll<HTMLElement>('dialog[open] button, dialog[open] a'), ...document.querySelectorAll<HTMLElement>('main button, main a, header button, form button')];
    const found = await appears(() => all().find((element) => nameOf(element) === name) ?? all().find((element) => nameOf(element).startsWith(name)));
    if (!found) throw new Error(`the story finds no button ${name}`);
    found.click();
    await settled();
  },
  async type(label, text) {
    const labels = () => [...document.querySelectorAll('label')].filter((element) => nameOf(element).startsWith(label));
    const field = await appears(() => labels().map((element) => element.control as HTMLInputElement | HTMLTextAreaElement | null).find((control) => control !== null));
    if (!field) throw new Error(`the story finds no field ${label}`);
    field.value = text;
    field.dispatchEvent(new InputEvent('input', { bubbles: true }));
    await settled();
  },
  async key(selector, key) {
    const element = await appears(() => document.querySelector<HTMLElement>(selector));
    if (!element) throw new Error(`the story finds no ${selector}`);
    if (element instanceof HTMLInputElement && key === 'file') {
      const chosen = new DataTransfer();
      chosen.items.add(new File(['x'.repeat(100)], 'shop.tar.gz'));
      element.files = chosen.files;
      element.dispatchEvent(new Event('change', { bubbles: true }));
    } else {
      element.focus();
      element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    }
    await settled();
  },
};

function list(): void {
  document.title = 'Weir: stories';
  const main = document.createElement('main');
  const heading = document.createElement('h1');
  heading.textContent = `${stories.length} stories`;
  const items = document.createElement('ul');
  for (const one of stories) {
    const link = document.createElement('a');
    link.href = `?story=${one.id}`;
    link.textContent = one.id;
    const item = document.createElement('li');
    item.append(link);
    items.append(item);
  }
  main.append(heading, items);
  target.append(main);
}

async function show(): Promise<void> {
  if (!story) {
    list();
    return;
  }
  const own = world();
  story.change?.(own);
  install(own);
  stopClock(AT);
  setTheme((asked.get('theme') ?? 'system') as Theme);
  await start(story.path);
  await useLanguage((asked.get('lang') ?? 'en') as Language);
  mount(App, { target });
  await settled();
  // Buttons are pressed by their English names.
  if ((asked.get('lang') ?? 'en') === 'en') await story.act?.(actor);
  await settled();
}

Object.assign(window, { weirStories: stories.map(({ id, main, large }) => ({ id, main: main ?? false, large: large ?? false })) });
show().then(
  () => (document.documentElement.dataset['ready'] = 'yes'),
  (error: unknown) => {
    document.documentElement.dataset['ready'] = `failed: ${String(error)}`;
  },
);
