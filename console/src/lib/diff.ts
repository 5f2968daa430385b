//! The difference of two texts, line by line. Pure.

export interface DiffLine {
  kind: 'same' | 'added' | 'removed';
  text: string;
  /** Line number in the new text; for what was removed, in the old one. */
  line: number;
}

/** The shortest difference (Myers); texts of a few thousand lines. */
export function diff(before: string, after: string): DiffLine[] {
  const a = before === '' ? [] : before.replace(/\n$/, '').split('\n');
  const b = after === '' ? [] : after.replace(/\n$/, '').split('\n');
  return backtrack(a, b, trace(a, b));
}

/** For each number of edits, how far each diagonal came. */
function trace(a: string[], b: string[]): Map<number, number>[] {
  const most = a.length + b.length;
  let reached = new Map<number, number>([[1, 0]]);
  const all: Map<number, number>[] = [];
  for (let edits = 0; edits <= most; edits += 1) {
    const next = new Map<number, number>();
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      let x = downwards(reached, diagonal, edits) ? far(reached, diagonal + 1) : far(reached, diagonal - 1) + 1;
      while (x < a.length && x - diagonal < b.length && a[x] === b[x - diagonal]) x += 1;
      next.set(diagonal, x);
      if (x >= a.length && x - diagonal >= b.length) return [...all, next];
    }
    all.push(next);
    reached = next;
  }
  return all;
}

const far = (reached: Map<number, number>, diagonal: number): number => reached.get(diagonal) ?? -1;

function downwards(reached: Map<number, number>, diagonal: number, edits: number): boolean {
  return diagonal === -edits || (diagonal !== edits && far(reached, diagonal - 1) < far(reached, diagonal + 1));
}

function backtrack(a: string[], b: string[], traces: Map<number, number>[]): DiffLine[] {
  const lines: DiffLine[] = [];
  let [x, y] = [a.length, b.length];
  for (let edits = traces.length - 1; edits > 0; edits -= 1) {
    const reached = traces[edits - 1] ?? new Map<number, number>();
    const diagonal = x - y;
    const from = downwards(reached, diagonal, edits) ? diagonal + 1 : diagonal - 1;
    const startX = far(reached, from);
    const startY = startX - from;
    while (x > startX && y > startY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) {
      lines.push({ kind: 'same', text: b[y - 1] ?? '', line: y });
      [x, y] = [x - 1, y - 1];
    }
    if (from > diagonal) lines.push({ kind: 'added', text: b[y - 1] ?? '', line: y });
    else lines.push({ kind: 'removed', text: a[x - 1] ?? '', line: x });
    [x, y] = [startX, startY];
  }
  while (y > 0) {
    lines.push({ kind: 'same', text: b[y - 1] ?? '', line: y });
    y -= 1;
  }
  return lines.reverse();
}
