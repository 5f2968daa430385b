//! Numbers, bytes, money and times in a language. Pure.

const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>();

function remembered<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>(key: string, make: () => T): T {
  const found = cache.get(key);
  if (found) return found as T;
  const made = make();
  cache.set(key, made);
  return made;
}

function numbers(language: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  return remembered(`n ${language} ${JSON.stringify(options)}`, () => new Intl.NumberFormat(language, options));
}

function dates(language: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return remembered(`d ${language} ${JSON.stringify(options)}`, () => new Intl.DateTimeFormat(language, options));
}

/** A number, with three significant digits below 1,000 unless told otherwise. */
export function number(language: string, value: number, digits?: number): string {
  if (digits !== undefined) return numbers(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  return numbers(language, Math.abs(value) < 1000 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 }).format(value);
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes in the units that `weir.toml` is written in. */
export function bytes(language: string, value: number): string {
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${numbers(language, { maximumFractionDigits: digits }).format(value)} ${BYTE_UNITS[unit]}`;
}

/** `0.5` as `50 %`. */
export function percent(language: string, value: number): string {
  return numbers(language, { style: 'percent', maximumFractionDigits: value > 0 && value < 0.1 ? 1 : 0 }).format(value);
}

/**
 * Money from its decimal text, never through a float: `Intl` takes the text as it is. Two digits
 * after the point, more where the amount is less than 0.01; `exact` shows all that there are.
 */
export function money(language: string, amount: string, currency: string, digits?: 'exact'): string {
  const fraction = amount.split('.')[1] ?? '';
  const most = digits === 'exact' ? Math.max(2, fraction.length) : smallestDigits(amount);
  const written = numbers(language, { style: 'currency', currency, minimumFractionDigits: 2, maximumFractionDigits: most });
  return written.format(amount as unknown as number);
}

/** Two, or as many as show the first two digits that are not 0. */
function smallestDigits(amount: string): number {
  const match = /^-?0*\.(0*)[1-9]/.exec(amount);
  return match ? Math.min(9, Math.max(2, (match[1] ?? '').length + 2)) : 2;
}

/** Compares decimal texts of any length. */
export function compareAmounts(left: string, right: string): number {
  const [a, b] = [scaled(left), scaled(right)];
  return a < b ? -1 : a > b ? 1 : 0;
}

/** How much of `whole` the amount is, from 0 to 1; for bars only. */
export function share(amount: string, whole: string): number {
  const all = scaled(whole);
  if (all <= 0n) return 0;
  const part = Number((scaled(amount) * 10_000n) / all) / 10_000;
  return Math.min(1, Math.max(0, part));
}

const DIGITS = 12;

function scaled(amount: string): bigint {
  const match = /^(-?)(\d*)(?:\.(\d*))?$/.exec(amount.trim());
  if (!match) return 0n;
  const [, sign = '', whole = '', fraction = ''] = match;
  const value = BigInt((whole || '0') + fraction.padEnd(DIGITS, '0').slice(0, DIGITS));
  return sign ? -value : value;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A duration in its two largest units: `1 min 5 s`. */
export function duration(language: string, ms: number): string {
  const unit = (value: number, name: string) =>
    numbers(language, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: value < 10 && name === 'second' && ms < 10_000 ? 1 : 0 }).format(value);
  if (ms < SECOND) return unit(Math.round(ms), 'millisecond');
  if (ms < MINUTE) return unit(ms < 10_000 ? ms / SECOND : Math.floor(ms / SECOND), 'second');
  const [large, largeName, small, smallName]: [number, string, number, string] =
    ms < HOUR ? [MINUTE, 'minute', SECOND, 'second'] : ms < DAY ? [HOUR, 'hour', MINUTE, 'minute'] : [DAY, 'day', HOUR, 'hour'];
  const rest = Math.floor((ms % large) / small);
  const first = unit(Math.floor(ms / large), largeName);
  return rest === 0 ? first : `${first} ${unit(rest, smallName)}`;
}

/** How far an instant is from now, either way. */
export function ago(language: string, instant: string, now: number): string {
  const words = remembered(`r ${language}`, () => new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'short' }));
  const ms = Date.parse(instant) - now;
  const size = Math.abs(ms);
  if (size < 10 * SECOND) return words.format(0, 'second');
  if (size < MINUTE) return words.format(Math.trunc(ms / SECOND), 'second');
  if (size < HOUR) return words.format(Math.trunc(ms / MINUTE), 'minute');
  if (size < 2 * DAY) return words.format(Math.trunc(ms / HOUR), 'hour');
  return words.format(Math.trunc(ms / DAY), 'day');
}

const asDate = (instant: string | number): Date => new Date(instant);

/** Day and time to the minute. */
export function dateTime(language: string, instant: string | number): string {
  return dates(language, { dateStyle: 'medium', timeStyle: 'short' }).format(asDate(instant));
}

/** Day and time to the second, with the time zone. */
export function exactTime(language: string, instant: string | number): string {
  return dates(language, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short' }).format(asDate(instant));
}

/** Time of day to the second. */
export function time(language: string, instant: string | number): string {
  return dates(language, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(asDate(instant));
}

/** The day. */
export function day(language: string, instant: string | number): string {
  return dates(language, { dateStyle: 'medium' }).format(asDate(instant));
}
