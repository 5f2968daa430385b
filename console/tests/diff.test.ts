import { expect, it } from 'vitest';
import { diff } from '../src/lib/diff';

const old = (lines: ReturnType<typeof diff>) => lines.filter((line) => line.kind !== 'added').map((line) => line.text);
const fresh = (lines: ReturnType<typeof diff>) => lines.filter((line) => line.kind !== 'removed').map((line) => line.text);

it('says what was added and removed', () => {
  expect(diff('a\nb\nc\n', 'a\nx\nc\n').map((line) => `${line.kind[0]}${line.text}`)).toEqual(['sa', 'rb', 'ax', 'sc']);
  expect(diff('', 'a\n')).toEqual([{ kind: 'added', text: 'a', line: 1 }]);
  expect(diff('a\n', '')).toEqual([{ kind: 'removed', text: 'a', line: 1 }]);
  expect(diff('', '')).toEqual([]);
});

it('always holds both texts, and is as short as it can be', () => {
  let state = 42;
  const random = (below: number) => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state % below;
  };
  const text = () => Array.from({ length: random(9) }, () => 'abc'[random(3)]).join('\n');
  for (let round = 0; round < 500; round += 1) {
    const [before, after] = [text(), text()];
    const lines = diff(before, after);
    expect(old(lines).join('\n')).toBe(before);
    expect(fresh(lines).join('\n')).toBe(after);
    expect(lines.filter((line) => line.kind === 'same').length).toBe(common(before, after));
  }
});

/** Length of the longest common subsequence, by the table. */
function common(before: string, after: string): number {
  const [a, b] = [before === '' ? [] : before.split('\n'), after === '' ? [] : after.split('\n')];
  let row = new Array<number>(b.length + 1).fill(0);
  for (const line of a) {
    const next = [0];
    for (let at = 0; at < b.length; at += 1) next.push(line === b[at] ? (row[at] ?? 0) + 1 : Math.max(row[at + 1] ?? 0, next[at] ?? 0));
    row = next;
  }
  return row.at(-1) ?? 0;
}
