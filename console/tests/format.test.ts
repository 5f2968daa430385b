import { describe, expect, it } from 'vitest';
import { ago, bytes, compareAmounts, duration, money, share } from '../src/lib/format';

const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, ' ');

describe('money', () => {
  it('shows every digit of the ledger without a float', () => {
    expect(money('en', '123456789012.123456789', 'EUR', 'exact')).toBe('€123,456,789,012.123456789');
    expect(plain(money('ru', '1234.5', 'RUB', 'exact'))).toBe('1 234,50 ₽');
  });

  it('shows two digits, and the first two that are not 0 of less than a cent', () => {
    expect(money('en', '3.214879120', 'EUR')).toBe('€3.21');
    expect(money('en', '0.000012345', 'EUR')).toBe('€0.000012');
    expect(money('en', '0', 'EUR')).toBe('€0.00');
  });

  it('compares amounts that differ in the last digit', () => {
    expect(compareAmounts('9007199254740993.000000001', '9007199254740993.000000002')).toBe(-1);
    expect(compareAmounts('-1', '0')).toBe(-1);
    expect(compareAmounts('7.0', '7.00')).toBe(0);
  });

  it('says how much of a limit is used, within 0 and 1', () => {
    expect(share('3.5', '7.00')).toBe(0.5);
    expect(share('8', '7')).toBe(1);
    expect(share('1', '0')).toBe(0);
  });
});

describe('times and sizes', () => {
  it('writes durations in their two largest units', () => {
    expect(plain(duration('en', 65_000))).toBe('1 min 5 sec');
    expect(plain(duration('en', 7_200_000))).toBe('2 hr');
    expect(plain(duration('en', 340))).toBe('340 ms');
  });

  it('says how far an instant is, either way', () => {
    const now = Date.parse('2026-11-21T12:00:00Z');
    expect(ago('en', '2026-11-21T11:57:00Z', now)).toBe('3 min. ago');
    expect(plain(ago('ru', '2026-11-21T15:00:00Z', now))).toBe('через 3 ч');
    expect(ago('en', '2026-11-21T12:00:03Z', now)).toBe('now');
  });

  it('writes bytes in powers of 1024', () => {
    expect(bytes('en', 512)).toBe('512 B');
    expect(bytes('en', 512 << 20)).toBe('512 MiB');
    expect(bytes('en', 1_610_612_736)).toBe('1.5 GiB');
  });
});
