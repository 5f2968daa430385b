//! Paths in volumes: bytes, written as printable ASCII with `%XX` for the rest. Pure.

/** A name as a person typed it, as it is to be sent. */
export function encodeName(name: string): string {
  return [...new TextEncoder().encode(name)].map((byte) => (byte > 0x20 && byte < 0x7f && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)).join('');
}

/** A part of a path as it is to be shown; what is not UTF-8 is replaced. */
export function showName(part: string): string {
  const bytes: number[] = [];
  for (let at = 0; at < part.length; at += 1) {
    const hex = part[at] === '%' ? /^[0-9A-Fa-f]{2}/.exec(part.slice(at + 1)) : null;
    if (hex) {
      bytes.push(Number.parseInt(hex[0], 16));
      at += 2;
    } else bytes.push(...new TextEncoder().encode(part[at]));
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

/** What is wrong with a name that somebody typed, if anything. */
export function nameProblem(name: string): 'empty' | 'dots' | 'slash' | 'long' | null {
  if (name === '') return 'empty';
  if (name === '.' || name === '..') return 'dots';
  if (name.includes('/') || name.includes('\0')) return 'slash';
  if (new TextEncoder().encode(name).length > 255) return 'long';
  return null;
}

/** The path of something in a folder. */
export function join(folder: string, part: string): string {
  return folder === '/' ? `/${part}` : `${folder}/${part}`;
}

/** The folders on the way to a path, the root first. */
export function trail(path: string): { name: string; path: string }[] {
  const parts = path.split('/').filter(Boolean);
  return [{ name: '/', path: '/' }, ...parts.map((part, index) => ({ name: showName(part), path: `/${parts.slice(0, index + 1).join('/')}` }))];
}
