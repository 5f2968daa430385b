// Serves a built folder as control has to serve the console: with the headers that API.md names.
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' };

/** The headers of API.md, word for word. */
export async function headersOfContract() {
  const text = await readFile(new URL('../API.md', import.meta.url), 'utf8');
  const block = /```\n(Content-Security-Policy:[\s\S]*?)```/.exec(text);
  if (!block) throw new Error('API.md has no block of headers any more');
  return Object.fromEntries(block[1].trim().split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
}

/** Listens on a free port of the loopback; answers where. `api` gets what is below `/v1`. */
export async function serve(folder, page, api) {
  const headers = await headersOfContract();
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, 'http://localhost').pathname);
    if (api && path.startsWith('/v1/')) {
      api(request, response);
      return;
    }
    const wanted = join(folder, path);
    const found = wanted.startsWith(folder) && (await stat(wanted).then((entry) => entry.isFile(), () => false));
    if (!found && path.startsWith('/assets/')) {
      response.writeHead(404).end();
      return;
    }
    const file = found ? wanted : join(folder, page);
    response.writeHead(200, { ...headers, 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
