import { describe, expect, it } from 'vitest';
import { href, isOwnPath, match, ROUTES, searchText } from '../src/lib/routes';

describe('addresses', () => {
  it('lead to their page and back', () => {
    for (const [page, pattern] of Object.entries(ROUTES)) {
      const values = Object.fromEntries([...pattern.matchAll(/\{(\w+)\}/g)].map((found) => [found[1], `ä/${found[1]} %?#`]));
      const path = (href as (page: string, parameters: object) => string)(page, values);
      expect(match(path), path).toEqual({ page, parameters: values });
    }
  });

  it('prefer fixed words to what is filled in', () => {
    expect(match('/projects/shop/costs')?.page).toBe('projectCosts');
    expect(match('/projects/shop/production')?.page).toBe('environment');
  });

  it('that are none lead nowhere', () => {
    expect(match('/a/b')).toBeNull();
    expect(match('/projects/%E0%A4%A')).toBeNull();
  });

  it('leave out what is empty in a query', () => {
    expect(searchText({ q: 'a&b', empty: '', none: null, off: false, number: 0 })).toBe('q=a%26b&number=0');
  });

  it('to come back to are on this host only', () => {
    expect(['/', '/projects/a?x=1#y'].every(isOwnPath)).toBe(true);
    for (const foreign of ['//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)', '', null, '/\n/evil.example', '/a\\b']) expect(isOwnPath(foreign), String(foreign)).toBe(false);
  });
});
