//! Which rows of a long list are to be drawn. Pure.

/**
 * Browsers give up on elements higher than some 17 million pixels (Firefox); beyond this height
 * positions in the list are scaled.
 */
export const HIGHEST = 8_000_000;

export interface Window {
  first: number;
  /** Behind the last. */
  end: number;
  /** Where the first is drawn, from the top of the list. */
  top: number;
  /** Height of the whole list. */
  height: number;
}

/** The rows that are seen at `scrollTop`, with some before and behind. */
export function rowsAt(count: number, rowHeight: number, scrollTop: number, viewHeight: number, spare = 12): Window {
  const full = count * rowHeight;
  const height = Math.min(full, HIGHEST);
  const travel = Math.max(0, height - viewHeight);
  const fullTravel = Math.max(0, full - viewHeight);
  const position = travel > 0 ? (Math.min(Math.max(0, scrollTop), travel) / travel) * fullTravel : 0;
  const first = Math.max(0, Math.floor(position / rowHeight) - spare);
  const end = Math.min(count, Math.ceil((position + viewHeight) / rowHeight) + spare);
  return { first, end, top: Math.min(scrollTop, travel) - position + first * rowHeight, height };
}

/** Where to scroll so that a row stands in the middle. */
export function scrollTo(row: number, count: number, rowHeight: number, viewHeight: number): number {
  const full = count * rowHeight;
  const height = Math.min(full, HIGHEST);
  const wanted = Math.max(0, row * rowHeight - (viewHeight - rowHeight) / 2);
  const fullTravel = Math.max(1, full - viewHeight);
  return Math.min(1, wanted / fullTravel) * Math.max(0, height - viewHeight);
}

export interface Span {
  first: number;
  /** Behind the last. */
  end: number;
  /** Height of the rows before the first. */
  before: number;
  /** Height of the rows from `end` on. */
  after: number;
}

/** The rows that touch the stretch between two heights, of a list whose rows differ in height. */
export function rowsWithin(heights: readonly number[], from: number, to: number): Span {
  let first = 0;
  let before = 0;
  // The last one stays, so that there is something to be seen however far one has scrolled.
  for (; first < heights.length - 1; first += 1) {
    const height = heights[first] ?? 0;
    if (before + height > from) break;
    before += height;
  }
  let end = first;
  for (let bottom = before; end < heights.length && (bottom < to || end === first); end += 1) bottom += heights[end] ?? 0;
  return { first, end, before, after: heights.slice(end).reduce((sum, height) => sum + height, 0) };
}
