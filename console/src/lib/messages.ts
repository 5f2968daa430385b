//! Texts with what is to be filled in, and their plural forms. Pure.

/** A text, or one for each plural category of the language. */
export type Message = string | Partial<Record<Intl.LDMLPluralRule, string>>;

export type Values = Record<string, string | number>;

/** Fills in `{name}`; the plural form follows from `count`. Numbers are written in the language. */
export function fill(message: Message, language: string, values: Values = {}): string {
  const numbers = new Intl.NumberFormat(language);
  const text = typeof message === 'string' ? message : form(message, language, values['count']);
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? numbers.format(value) : value;
  });
}

function form(message: Partial<Record<Intl.LDMLPluralRule, string>>, language: string, count: string | number | undefined): string {
  const category = new Intl.PluralRules(language).select(Number(count ?? 0));
  return message[category] ?? message.other ?? '';
}

/** What a message wants to have filled in. */
export function placeholders(message: Message): string[] {
  const texts = typeof message === 'string' ? [message] : Object.values(message);
  return [...new Set(texts.flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '')))].sort();
}
