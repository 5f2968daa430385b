// Compresses what was built, and fails if the first load is larger than 200 KiB: the page, what
// it needs to start, one language, and the overview.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const LIMIT = 200 * 1024;
const FIRST = ['index.html', 'messages/en.json', 'src/views/Overview.svelte'];
const COMPRESSED = /\.(js|css|html|svg|json)$/;

const manifest = JSON.parse(await readFile('dist/.vite/manifest.json', 'utf8'));

/** The files of a part and of all that it imports at once. */
function filesOf(name, found = new Set()) {
  const part = manifest[name];
  if (!part) throw new Error(`${name} is not in the manifest: is the list in scripts/size.mjs still right?`);
  if (found.has(part.file)) return found;
  found.add(part.file);
  for (const sheet of part.css ?? []) found.add(sheet);
  for (const imported of part.imports ?? []) filesOf(imported, found);
  return found;
}

const sizes = new Map();
for (const entry of await readdir('dist', { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (!entry.isFile() || !COMPRESSED.test(path) || path.includes('.vite')) continue;
  const bytes = await readFile(path);
  const gzip = gzipSync(bytes, { level: 9 });
  const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  await writeFile(`${path}.gz`, gzip);
  await writeFile(`${path}.br`, brotli);
  sizes.set(path.slice('dist/'.length), { gzip: gzip.length, brotli: brotli.length });
}

const first = new Set(['index.html', 'icon.svg']);
for (const name of FIRST) for (const file of filesOf(name)) first.add(file);
const sum = (kind, names) => [...names].reduce((total, name) => total + (sizes.get(name)?.[kind] ?? 0), 0);
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
console.log(`first load: ${kib(sum('gzip', first))} by gzip, ${kib(sum('brotli', first))} by brotli, in ${first.size} files`);
console.log(`everything: ${kib(sum('gzip', sizes.keys()))} by gzip, in ${sizes.size} files`);
if (sum('gzip', first) > LIMIT) {
  console.error(`the first load is larger than ${kib(LIMIT)}: load what is not needed at once with import()`);
  process.exitCode = 1;
}
