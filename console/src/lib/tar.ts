//! Makes a tar of what was dropped. Pure but for `File`, which is read by the browser when it is
//! sent: the archive is a list of pieces, so 2 GiB of files take no memory.

/** A file or an empty folder with its path, parted by `/`. */
export interface TarEntry {
  path: string;
  /** Absent for a folder. */
  file?: Blob & { lastModified?: number };
}

const BLOCK = 512;
const NAME_BYTES = 100;
/** Largest size that the octal field holds. */
const OCTAL_LIMIT = 8 ** 11;

/** The archive, in the format of POSIX.1-2001 (pax). */
export function tar(entries: readonly TarEntry[]): Blob {
  const pieces: BlobPart[] = [];
  for (const entry of entries) append(pieces, entry);
  pieces.push(new Uint8Array(2 * BLOCK));
  return new Blob(pieces, { type: 'application/x-tar' });
}

function append(pieces: BlobPart[], { path, file }: TarEntry): void {
  const name = encode(file ? path : `${path}/`);
  const size = file?.size ?? 0;
  const modified = Math.max(0, Math.floor((file?.lastModified ?? 0) / 1000));
  const records: string[] = [];
  if (name.length > NAME_BYTES || name.some((byte) => byte > 126)) records.push(record('path', file ? path : `${path}/`));
  if (size >= OCTAL_LIMIT) records.push(record('size', String(size)));
  if (records.length > 0) {
    const body = encode(records.join(''));
    pieces.push(header(encode('pax'), body.length, 0, 'x'), body, padding(body.length));
  }
  const short = name.length > NAME_BYTES ? name.slice(0, NAME_BYTES) : name;
  pieces.push(header(short, Math.min(size, OCTAL_LIMIT - 1), modified, file ? '0' : '5'));
  if (file) pieces.push(file, padding(size));
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
export function record(key: string, value: string): string {
  const rest = encode(` ${key}=${value}\n`).length;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length += 1;
  return `${length} ${key}=${value}\n`;
}

function header(name: Uint8Array, size: number, modified: number, kind: string): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const text = (at: number, value: string) => block.set(encode(value), at);
  const octal = (at: number, width: number, value: number) => text(at, `${value.toString(8).padStart(width - 1, '0')}\0`);
  block.set(name, 0);
  octal(100, 8, kind === '5' ? 0o755 : 0o644);
  octal(108, 8, 0);
  octal(116, 8, 0);
  octal(124, 12, size);
  octal(136, 12, modified);
  text(148, '        ');
  text(156, kind);
  text(257, 'ustar\u000000');
  const sum = block.reduce((total, byte) => total + byte, 0);
  text(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

function padding(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
