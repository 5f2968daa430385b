//! Lines of logs with the colours of terminals: the colours become classes, everything else that
//! a terminal would obey is taken out. Pure.

export interface Span {
  text: string;
  /** Names of classes, like `ansi-red bold`. */
  style: string;
}

const COLOURS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
// Sequences of ECMA-48: CSI, OSC (ended by BEL or ST), and two-character ones.
const SEQUENCE = /\u001b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g;

/** Cuts a line into spans. */
export function spans(line: string): Span[] {
  if (!line.includes('\u001b')) return [{ text: clean(line), style: '' }];
  const found: Span[] = [];
  let colour = '';
  let bold = false;
  let from = 0;
  const take = (until: number) => {
    const text = clean(line.slice(from, until));
    if (text) found.push({ text, style: [colour && `ansi-${colour}`, bold && 'bold'].filter(Boolean).join(' ') });
  };
  for (const match of line.matchAll(SEQUENCE)) {
    take(match.index);
    from = match.index + match[0].length;
    if (match[2] !== 'm') continue;
    for (const code of (match[1] || '0').split(';').map(Number)) {
      if (code === 0) [colour, bold] = ['', false];
      else if (code === 1) bold = true;
      else if (code === 22) bold = false;
      else if (code === 39) colour = '';
      else if (code >= 30 && code <= 37) colour = COLOURS[code - 30] ?? '';
      else if (code >= 90 && code <= 97) colour = COLOURS[code - 90] ?? '';
    }
  }
  take(line.length);
  return found;
}

/** Without what terminals obey, and without marks that turn the direction of writing. */
export function clean(text: string): string {
  return text.replace(CONTROLS, '\ufffd');
}
