//! The present instant, for what says how long ago something was.

let now = $state(Date.now());
let fixed = false;

export const clock = {
  /** Milliseconds since 1970; moves every second. */
  get now(): number {
    return now;
  },
};

setInterval(() => {
  if (!fixed) now = Date.now();
}, 1000);

/** Stops the clock, for stories. */
export function stopClock(at: string): void {
  fixed = true;
  now = Date.parse(at);
}
