//! The language of the page: its texts, and how it writes numbers, dates and money.

import type en from '../../messages/en.json';
import * as format from './format';
import { type Message, type Values, fill } from './messages';

export type TextKey = keyof typeof en;

/** Languages with a file in `messages/`, in their own words. */
export const LANGUAGES = { en: 'English', ru: 'Русский' } as const;
export type Language = keyof typeof LANGUAGES;

const LOAD: Record<Language, () => Promise<{ default: Record<string, Message> }>> = {
  en: () => import('../../messages/en.json'),
  ru: () => import('../../messages/ru.json'),
};

let messages = $state.raw<Record<string, Message>>({});
let language = $state<Language>('en');

/** The language in force. */
export function currentLanguage(): Language {
  return language;
}

/** The best of our languages for these wishes. */
export function choose(wishes: readonly string[]): Language {
  for (const wish of wishes) {
    const short = wish.toLowerCase().split('-')[0];
    if (short && short in LANGUAGES) return short as Language;
  }
  return 'en';
}

/** Loads the texts of a language and shows them. */
export async function useLanguage(wanted: Language): Promise<void> {
  const loaded = await LOAD[wanted]();
  messages = loaded.default;
  language = wanted;
  document.documentElement.lang = wanted;
}

/** A text in the language of the page. */
export function t(key: TextKey, values?: Values): string {
  const message = messages[key];
  return message === undefined ? key : fill(message, language, values);
}

/** A word of the API, like a state: its translation, else itself. */
export function word(group: string, value: string): string {
  const message = messages[`${group}.${value}`];
  return message === undefined ? value : fill(message, language);
}

export const number = (value: number, digits?: number): string => format.number(language, value, digits);
export const bytes = (value: number): string => format.bytes(language, value);
export const percent = (value: number): string => format.percent(language, value);
export const money = (amount: string, currency: string, digits?: 'exact'): string => format.money(language, amount, currency, digits);
export const duration = (ms: number): string => format.duration(language, ms);
export const ago = (instant: string, now: number): string => format.ago(language, instant, now);
export const dateTime = (instant: string | number): string => format.dateTime(language, instant);
export const exactTime = (instant: string | number): string => format.exactTime(language, instant);
export const time = (instant: string | number): string => format.time(language, instant);
export const day = (instant: string | number): string => format.day(language, instant);
export const list = (items: string[]): string => new Intl.ListFormat(language, { type: 'conjunction' }).format(items);
