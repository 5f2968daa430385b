//! Texts with what is to be filled in, and their plural forms. Pure.

/** A text, or one for each plural category of the language. */
export type Message = string | Partial<Record<Intl.LDMLPluralRule, string>>;

export type Values = Record<string, string | number>;

interface Rules {
  numbers: Intl.NumberFormat;
  plurals: Intl.PluralRules;
}

const known = new Map<string, Rules>();

/** Making them takes longer than all the rest of a text, and a page has hundreds of texts. */
function rulesOf(language: string): Rules {
  const found = known.get(language) ?? { numbers: new Intl.NumberFormat(language), plurals: new Intl.PluralRules(language) };
  known.set(language, found);
  return found;
}

/** Fills in `{name}`; the plural form follows from `count`. Numbers are written in the language. */
export function fill(message: Message, language: string, values: Values = {}): string {
  const text = typeof message === 'string' ? message : form(message, language, values['count']);
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? rulesOf(language).numbers.format(value) : value;
  });
}

function form(message: Partial<Record<Intl.LDMLPluralRule, string>>, language: string, count: string | number | undefined): string {
  const category = rulesOf(language).plurals.select(Number(count ?? 0));
  return message[category] ?? message.other ?? '';
}

/** What a message wants to have filled in. */
export function placeholders(message: Message): string[] {
  const texts = typeof message === 'string' ? [message] : Object.values(message);
  return [...new Set(texts.flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '')))].sort();
}
