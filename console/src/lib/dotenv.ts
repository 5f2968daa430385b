//! Variables as a text like `.env`, to edit many at once. Pure.

export interface ParsedVariable {
  name: string;
  value: string;
  line: number;
}

export interface ParseProblem {
  line: number;
  /** `name`: not a name; `equals`: no `=`; `twice`: was set above; `quote`: a quote that does not end. */
  kind: 'name' | 'equals' | 'twice' | 'quote';
  text: string;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Reads lines `NAME=value`, with comments, `export`, quotes, and values over several lines in quotes. */
export function parseVariables(text: string): { variables: ParsedVariable[]; problems: ParseProblem[] } {
  const variables: ParsedVariable[] = [];
  const problems: ParseProblem[] = [];
  const seen = new Set<string>();
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index += 1) {
    const line = index + 1;
    const trimmed = (lines[index] ?? '').trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const equals = trimmed.indexOf('=');
    if (equals < 0) {
      problems.push({ line, kind: 'equals', text: trimmed });
      continue;
    }
    const name = trimmed.slice(0, equals).replace(/^export\s+/, '').trim();
    const read = readValue(trimmed.slice(equals + 1).trim(), lines, index);
    index = read.last;
    if (!NAME.test(name)) problems.push({ line, kind: 'name', text: name });
    else if (seen.has(name)) problems.push({ line, kind: 'twice', text: name });
    else if (read.value === null) problems.push({ line, kind: 'quote', text: name });
    else variables.push({ name, value: read.value, line });
    seen.add(name);
  }
  return { variables, problems };
}

function readValue(first: string, lines: string[], start: number): { value: string | null; last: number } {
  const quote = first[0];
  if (quote !== '"' && quote !== "'") return { value: first.replace(/\s+#.*$/, ''), last: start };
  let text = first.slice(1);
  for (let last = start; last < lines.length; ) {
    const end = closing(text, quote);
    if (end >= 0) return { value: unescape(text.slice(0, end), quote), last };
    last += 1;
    text += `\n${lines[last] ?? ''}`;
    if (last >= lines.length) break;
  }
  return { value: null, last: start };
}

function closing(text: string, quote: string): number {
  for (let at = 0; at < text.length; at += 1) {
    if (quote === '"' && text[at] === '\\') at += 1;
    else if (text[at] === quote) return at;
  }
  return -1;
}

function unescape(text: string, quote: string): string {
  if (quote === "'") return text;
  const known: Record<string, string> = { n: '\n', r: '\r', t: '\t' };
  return text.replace(/\\([\s\S])/g, (_, character: string) => known[character] ?? character);
}

/** Writes a variable so that it is read back the same. */
export function writeVariable(name: string, value: string): string {
  if (/^[\w./:@%+,=-]*$/.test(value)) return `${name}=${value}`;
  const escaped = value.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n').replace(/\r/g, '\\r').replace(/\t/g, '\\t');
  return `${name}="${escaped}"`;
}
