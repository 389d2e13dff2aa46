/** Numbers from a seed, so that a schedule can be run again. */

/** Numbers in [0, 1) from a seed: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` of the numbers from `first` through `last`, in order; all of them where there are not more. */
export function sampleFrom(first: number, last: number, count: number, random: () => number): number[] {
  const all = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  while (all.length > count) all.splice(Math.floor(random() * all.length), 1);
  return all;
}
