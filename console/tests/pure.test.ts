import { describe, expect, it } from 'vitest';
import { spans } from '../src/lib/ansi';
import { parseVariables, writeVariable } from '../src/lib/dotenv';
import { encodeName, join, nameProblem, showName, trail } from '../src/lib/paths';
import { covers } from '../src/lib/scopes';
import { ranked } from '../src/lib/search';
import { summary, table } from '../src/lib/series';
import { HIGHEST, rowsAt, rowsWithin, scrollTo } from '../src/lib/windowing';

describe('variables as text', () => {
  it('are read back as they were written', () => {
    for (const value of ['', 'plain', 'two words', 'a "quote" \\ \\n', 'line\nline\r\ttab', ' spaces ', '#no', "it's", 'http://x/?a=b&c=%20', 'ü 🧾', '$HOME']) {
      expect(parseVariables(writeVariable('NAME', value)), JSON.stringify(value)).toEqual({ variables: [{ name: 'NAME', value, line: 1 }], problems: [] });
    }
  });

  it('may be a file .env as people have it', () => {
    const { variables, problems } = parseVariables('# comment\nexport A=1 # why\n\nB=\'raw \\n\'\nC="two\nlines"\nD=x#y\r\n');
    expect(problems).toEqual([]);
    expect(variables.map(({ name, value }) => [name, value])).toEqual([['A', '1'], ['B', 'raw \\n'], ['C', 'two\nlines'], ['D', 'x#y']]);
  });

  it('name every line that is wrong', () => {
    expect(parseVariables('A=1\nno sign\n2B=1\nA=2\nC="open').problems.map(({ line, kind }) => [line, kind])).toEqual([[2, 'equals'], [3, 'name'], [4, 'twice'], [5, 'quote']]);
  });
});

describe('names of files', () => {
  it('go out as bytes and come back', () => {
    for (const name of ['a.txt', 'два слова', '100% ü', 'new\nline', '🧾']) expect(showName(encodeName(name))).toBe(name);
    expect(encodeName('ü %')).toBe('%C3%BC%20%25');
    expect(showName('%FF')).toBe('\ufffd');
  });

  it('that would lead elsewhere are refused', () => {
    expect(['', '.', '..', 'a/b', 'a\0', 'x'.repeat(256), 'ok'].map(nameProblem)).toEqual(['empty', 'dots', 'dots', 'slash', 'slash', 'long', null]);
  });

  it('make paths and the way to them', () => {
    expect(join('/', 'a')).toBe('/a');
    expect(trail('/a/%C3%BC').map((step) => step.name)).toEqual(['/', 'a', 'ü']);
  });
});

describe('lines of logs', () => {
  it('keep colours, and nothing else that a terminal obeys', () => {
    expect(spans('a \u001b[1;31mred\u001b[0m \u001b]0;title\u0007b\u001b[2Jc\u001b[?25l')).toEqual([{ text: 'a ', style: '' }, { text: 'red', style: 'ansi-red bold' }, { text: ' ', style: '' }, { text: 'b', style: '' }, { text: 'c', style: '' }]);
  });

  it('show marks that turn the direction of writing instead of obeying them', () => {
    expect(spans('user\u202etxt.exe')[0]?.text).toBe('user\ufffdtxt.exe');
  });
});

describe('long lists', () => {
  it('draw what is seen, and reach the first and the last row', () => {
    for (const count of [0, 1, 30, 100_000, 5_000_000]) {
      const first = rowsAt(count, 20, 0, 600);
      expect(first.first).toBe(0);
      expect(first.height).toBeLessThanOrEqual(HIGHEST);
      const last = rowsAt(count, 20, first.height, 600);
      expect(last.end).toBe(count);
      expect(last.end - last.first).toBeLessThan(80);
    }
  });

  it('bring a row to the middle', () => {
    for (const row of [0, 500, 70_000, 99_999]) {
      const seen = rowsAt(100_000, 20, scrollTo(row, 100_000, 20, 600), 600, 0);
      expect(seen.first).toBeLessThanOrEqual(row);
      expect(seen.end).toBeGreaterThan(row);
    }
  });
});

describe('rows of different heights', () => {
  const heights = Array.from({ length: 1000 }, (_, index) => (index % 30 === 0 ? 80 : 45));
  const sum = (rows: readonly number[]) => rows.reduce((all, height) => all + height, 0);

  it('are drawn where they are seen, and nothing moves', () => {
    const all = sum(heights);
    for (let from = -500; from < all; from += 333) {
      const span = rowsWithin(heights, from, from + 900);
      expect(span.before).toBe(sum(heights.slice(0, span.first)));
      expect(span.before + sum(heights.slice(span.first, span.end)) + span.after).toBe(all);
      expect(span.before).toBeLessThanOrEqual(Math.max(0, from));
      expect(all - span.after).toBeGreaterThanOrEqual(Math.min(all, from + 900));
      expect(span.end - span.first).toBeLessThan(25);
    }
  });

  it('are never none while there are some', () => {
    expect(rowsWithin(heights, 1e9, 1e9 + 1)).toMatchObject({ first: 999, end: 1000, after: 0 });
    expect(rowsWithin(heights, -1e9, -1e9 + 1)).toMatchObject({ first: 0, end: 1, before: 0 });
    expect(rowsWithin([], 0, 900)).toEqual({ first: 0, end: 0, before: 0, after: 0 });
  });
});

describe('the rest', () => {
  it('grants hold in what is in their scope only', () => {
    expect(covers('weir', 'shop/staging')).toBe(true);
    expect(covers('shop', 'shop/staging')).toBe(true);
    expect(covers('shop', 'shop-two')).toBe(false);
    expect(covers('shop/staging', 'shop')).toBe(false);
  });

  it('finds the best match first', () => {
    expect(ranked(['web-shop', 'shop', 'my/shop', 'bishop', 's.h.o.p', 'other'], 'shop', (name) => name)).toEqual(['shop', 'web-shop', 'my/shop', 'bishop', 's.h.o.p']);
  });

  it('does not take a gap in measurements for 0', () => {
    const metrics = { from: '1970-01-01T00:01:00Z', until: '', step_s: 10, marks: [], series: [{ name: 'a', unit: 's', values: [1, null, 3] }] };
    expect(table(metrics, ['a']).times).toEqual([60, 70, 80]);
    expect(summary([1, null, 3])).toEqual({ last: 3, least: 1, most: 3, mean: 2 });
    expect(summary([null])).toBeNull();
  });
});
