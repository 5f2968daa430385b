import { describe, expect, it } from 'vitest';
import { type Part, type Progress, upload } from '../src/lib/upload';

class Lost extends Error {}

/** Another side that keeps what arrives, and loses connections as it is told. */
class Side implements Part {
  kept: Uint8Array = new Uint8Array();
  calls = 0;
  /** At which call what is lost: the request, or its answer. */
  losses = new Map<number, 'request' | 'answer'>();

  async received(): Promise<number> {
    this.#lose('request');
    return this.kept.length;
  }

  async append(offset: number, part: Blob): Promise<number> {
    const loss = this.#lose('request');
    if (offset !== this.kept.length) throw new Error(`offset ${offset}, kept ${this.kept.length}`);
    this.kept = new Uint8Array([...this.kept, ...new Uint8Array(await part.arrayBuffer())]);
    if (loss === 'answer') throw new Lost();
    return this.kept.length;
  }

  #lose(now: 'request'): 'request' | 'answer' | undefined {
    this.calls += 1;
    const loss = this.losses.get(this.calls);
    if (loss === now) throw new Lost();
    return loss;
  }
}

const body = new Blob([Uint8Array.from({ length: 20 }, (_, index) => index)]);
const options = (progress: Progress[] = [], pauses: number[] = []) => ({
  signal: new AbortController().signal,
  onProgress: (one: Progress) => progress.push(one),
  pause: async (ms: number) => void pauses.push(ms),
  passing: (error: unknown) => error instanceof Lost,
});

describe('an upload', () => {
  it('arrives whole whatever is lost on the way, requests or answers', async () => {
    for (let first = 1; first < 6; first += 1) {
      for (const kind of ['request', 'answer'] as const) {
        const side = new Side();
        side.losses = new Map([[first, kind], [first + 1, 'request'], [first + 3, kind]]);
        await upload(body, side, options());
        expect([...side.kept], `${kind} ${first}`).toEqual([...new Uint8Array(await body.arrayBuffer())]);
      }
    }
  });

  it('goes on behind what is there already, and waits longer each time', async () => {
    const side = new Side();
    side.kept = new Uint8Array(await body.slice(0, 12).arrayBuffer());
    side.losses = new Map([[1, 'request'], [2, 'request'], [3, 'request']]);
    const pauses: number[] = [];
    const progress: Progress[] = [];
    await upload(body, side, options(progress, pauses));
    expect(pauses).toEqual([1000, 2000, 4000]);
    expect(progress.find((one) => !one.waiting)?.sent).toBe(12);
    expect(side.kept.length).toBe(20);
  });

  it('ends at a failure that does not pass', async () => {
    const side = new Side();
    side.append = async () => {
      throw new RangeError('full');
    };
    await expect(upload(body, side, options())).rejects.toThrow('full');
  });
});
