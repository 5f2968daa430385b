// Makes the types of the API: src/api/openapi.ts from the OpenAPI document, src/api/contract.ts
// from the TypeScript in API.md. With --check it only compares, and looks whether what API.md
// calls new is new.
import { readFile, writeFile } from 'node:fs/promises';
import openapi, { astToString } from 'openapi-typescript';

const document = new URL('../../docs/reference/openapi.json', import.meta.url);
const files = { openapi: 'src/api/openapi.ts', contract: 'src/api/contract.ts' };

function contractOf(markdown) {
  const blocks = [...markdown.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1].trim());
  return [
    '// Cut out of API.md by `npm run types`; change it there.',
    "import type { components } from './openapi';",
    '',
    "type Schemas = components['schemas'];",
    '',
    blocks.join('\n\n'),
    '',
  ].join('\n');
}

/** What API.md says about endpoints that the OpenAPI document contradicts. */
function contradictions(contract, api) {
  const known = new Set(
    Object.entries(api.paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`)),
  );
  const found = [];
  const entry = /^ {2}(?:\/\*\* (\w+)(: [^*]*)? \*\/\n {2})?'([A-Z]+ [^']+)'/gm;
  for (const [, operation, note, key] of contract.matchAll(entry)) {
    if (operation && !note && known.has(key)) found.push(`${key}: API.md calls it new, but the OpenAPI document has it`);
    if (!operation && !known.has(key)) found.push(`${key}: API.md has no operation id for it, so it should exist, but the OpenAPI document does not have it`);
  }
  return found;
}

const api = JSON.parse(await readFile(document, 'utf8'));
const contract = contractOf(await readFile('API.md', 'utf8'));
const made = {
  openapi: `// Made from docs/reference/openapi.json by \`npm run types\`.\n${astToString(await openapi(document))}`,
  contract,
};
const problems = contradictions(contract, api);
for (const [name, path] of Object.entries(files)) {
  if (!process.argv.includes('--check')) await writeFile(path, made[name]);
  else if ((await readFile(path, 'utf8').catch(() => '')) !== made[name]) problems.push(`${path} is not up to date: run \`npm run types\``);
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
