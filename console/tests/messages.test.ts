import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import en from '../messages/en.json';
import ru from '../messages/ru.json';
import { fill, type Message, placeholders } from '../src/lib/messages';

const languages: Record<string, Record<string, Message>> = { en, ru };

function sources(folder: string): string {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(svelte|ts)$/.test(entry.name))
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('\n');
}

describe('messages', () => {
  it('are the same in all languages, with the same places to fill in', () => {
    for (const [language, messages] of Object.entries(languages)) {
      expect(Object.keys(messages).sort(), language).toEqual(Object.keys(en).sort());
      for (const [key, message] of Object.entries(messages)) expect(placeholders(message), `${language} ${key}`).toEqual(placeholders((en as Record<string, Message>)[key] ?? ''));
    }
  });

  it('have every plural form of their language', () => {
    for (const [language, messages] of Object.entries(languages)) {
      const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories.toSorted();
      for (const [key, message] of Object.entries(messages)) if (typeof message !== 'string') expect(Object.keys(message).sort(), `${language} ${key}`).toEqual(forms);
    }
  });

  it('are all used', () => {
    const source = sources('src');
    const groups = new Set([...source.matchAll(/word\('([\w.]+)'|group="(\w+)"/g)].map((match) => match[1] ?? match[2]));
    const built = [...source.matchAll(/`([\w.]+)\.\$\{/g)].map((match) => match[1]);
    const unused = Object.keys(en).filter((key) => {
      const group = key.slice(0, key.lastIndexOf('.'));
      return !source.includes(`'${key}'`) && !groups.has(group) && !groups.has(key.split('.')[0]) && !built.includes(group);
    });
    expect(unused).toEqual([]);
  });

  it('choose the form by the number', () => {
    const lines: Message = { one: '{count} строка', few: '{count} строки', many: '{count} строк', other: '{count} строки' };
    expect([1, 2, 5, 11, 21, 1.5].map((count) => fill(lines, 'ru', { count }))).toEqual(['1 строка', '2 строки', '5 строк', '11 строк', '21 строка', '1,5 строки']);
  });

  it('leave markup alone: what a tenant wrote is text', () => {
    expect(fill('{name} is there', 'en', { name: '<b>{count}</b>' })).toBe('<b>{count}</b> is there');
  });
});
