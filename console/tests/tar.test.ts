import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { record, tar } from '../src/lib/tar';

const folder = mkdtempSync(join(tmpdir(), 'weir-tar-'));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('makes an archive that tar reads, with long and odd names, empty files and folders', async () => {
  const long = `${'folder/'.repeat(30)}${'n'.repeat(120)}.txt`;
  const odd = 'Übersicht – заказы 🧾 [1] *.csv';
  const files: Record<string, string> = { 'app.py': 'print(1)\n', [long]: 'x'.repeat(5000), [odd]: 'y', 'empty.txt': '', 'block.bin': 'z'.repeat(512) };
  const archive = tar([...Object.entries(files).map(([path, text]) => ({ path, file: new File([text], 'f', { lastModified: 1_700_000_000_000 }) })), { path: 'leer/nichts' }]);
  expect(archive.size % 512).toBe(0);
  writeFileSync(join(folder, 'a.tar'), new Uint8Array(await archive.arrayBuffer()));
  execFileSync('tar', ['-xf', 'a.tar'], { cwd: folder });
  for (const [path, text] of Object.entries(files)) expect(readFileSync(join(folder, path), 'utf8'), path).toBe(text);
  const listed = execFileSync('tar', ['-tf', 'a.tar'], { cwd: folder, env: { LC_ALL: 'C.UTF-8', PATH: process.env['PATH'] } }).toString();
  expect(listed).toContain('leer/nichts/');
});

it('counts the length of a record in itself', () => {
  for (let length = 1; length < 1200; length += 1) {
    const text = record('path', 'ä'.repeat(length));
    expect(Number.parseInt(text, 10)).toBe(new TextEncoder().encode(text).length);
  }
});
