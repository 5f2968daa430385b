//! Finds things by a part of their name. Pure.

/** Those that contain the text, best first: at the beginning, at the beginning of a word, anywhere, letters in order. */
export function ranked<T>(items: readonly T[], text: string, name: (item: T) => string): T[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return [...items];
  return items
    .map((item, index) => ({ item, index, rank: rank(name(item).toLowerCase(), wanted) }))
    .filter((entry) => entry.rank < 4)
    .sort((left, right) => left.rank - right.rank || left.index - right.index)
    .map((entry) => entry.item);
}

function rank(name: string, wanted: string): number {
  const at = name.indexOf(wanted);
  if (at === 0) return 0;
  if (at > 0) return /[^a-z0-9]/.test(name[at - 1] ?? '') ? 1 : 2;
  let from = 0;
  for (const letter of wanted) {
    from = name.indexOf(letter, from) + 1;
    if (from === 0) return 4;
  }
  return 3;
}
