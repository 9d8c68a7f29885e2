/** Timing of one operation inside a loop: many short samples, of which the median counts (as `c/bench.h` does it). */
const SAMPLES = 61
const WARM_UP_MS = 100

/** Median ns per operation of `run`, which performs `operations` of them. */
export function sample(run: () => void, operations: number): number {
  const until = performance.now() + WARM_UP_MS
  while (performance.now() < until) run()
  const times = new Float64Array(SAMPLES)
  for (let i = 0; i < SAMPLES; i++) {
    const start = performance.now()
    run()
    times[i] = ((performance.now() - start) * 1e6) / operations
  }
  return times.sort()[SAMPLES >> 1]!
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
