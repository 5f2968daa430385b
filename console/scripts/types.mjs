// Makes the types of the API: src/api/generated/openapi.ts from the OpenAPI document, contract.ts beside
// it from the TypeScript in API.md. Fails if what API.md calls new is there already, or the other way
// round. Only checks need the types, so they are not kept in git.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import openapi, { astToString } from 'openapi-typescript';

const document = new URL('../../docs/reference/openapi.json', import.meta.url);
const folder = 'src/api/generated';

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
await mkdir(folder, { recursive: true });
for (const [name, text] of Object.entries(made)) await writeFile(`${folder}/${name}.ts`, text);
const problems = contradictions(contract, api);
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
