//! Files that were chosen or dropped, folders included, with their paths.

import type { TarEntry } from './tar';

/** What is never uploaded from a folder: it is made anew, or private to version control. */
const SKIPPED = new Set(['.git', 'node_modules', '__pycache__', '.venv', 'venv', '.DS_Store']);

/** Most files of one drop. */
export const MOST_FILES = 200_000;

export interface Dropped {
  name: string;
  entries: TarEntry[];
  bytes: number;
  /** Folders and files that were left out by their names. */
  skipped: string[];
}

/** Reads what was dropped. With `everything` nothing is left out, not even the name of the folder. */
export async function readDrop(items: DataTransferItemList, everything: boolean): Promise<Dropped> {
  // The list is empty as soon as the event is over: what is in it has to be taken at once.
  const roots = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const dropped: Dropped = { name: roots[0]?.name ?? '', entries: [], bytes: 0, skipped: [] };
  const single = !everything && roots.length === 1 && roots[0]?.isDirectory;
  for (const root of roots) await walk(root, single ? '' : root.name, dropped, everything);
  return dropped;
}

async function walk(entry: FileSystemEntry, path: string, dropped: Dropped, everything: boolean): Promise<void> {
  if (dropped.entries.length >= MOST_FILES) return;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    dropped.entries.push({ path, file });
    dropped.bytes += file.size;
    return;
  }
  const children = await childrenOf(entry as FileSystemDirectoryEntry);
  if (children.length === 0 && path) dropped.entries.push({ path });
  for (const child of children) {
    const own = path ? `${path}/${child.name}` : child.name;
    if (!everything && SKIPPED.has(child.name)) dropped.skipped.push(own);
    else await walk(child, own, dropped, everything);
  }
}

/** Browsers give a hundred at a time. */
async function childrenOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    all.push(...some);
  }
}

/** What a file field gives: files, or a folder with `webkitRelativePath`. */
export function readFiles(files: FileList, everything: boolean): Dropped {
  const dropped: Dropped = { name: '', entries: [], bytes: 0, skipped: [] };
  for (const file of files) {
    const parts = (file.webkitRelativePath || file.name).split('/');
    dropped.name ||= parts[0] ?? '';
    const path = (parts.length > 1 && !everything ? parts.slice(1) : parts).join('/');
    if (!everything && parts.slice(1).some((part) => SKIPPED.has(part))) {
      if (dropped.skipped.length < 100) dropped.skipped.push(path);
      continue;
    }
    dropped.entries.push({ path, file });
    dropped.bytes += file.size;
  }
  return dropped;
}

/** Whether this is one archive, and not files to be packed. */
export function isArchive(dropped: Dropped): boolean {
  return dropped.entries.length === 1 && /\.(tar|tgz|tar\.gz|zip)$/i.test(dropped.entries[0]?.path ?? '');
}
