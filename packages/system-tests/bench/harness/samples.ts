/**
 * Timing of one operation inside a loop: many samples of a fraction of a millisecond, of which the 10th percentile counts (as in
 * `c/bench.h`). Most of them are not interrupted, and the ones that count ran while the other half of the core was idle: other work on
 * the machine moves a median by three quarters, this by a few percent.
 */
const SAMPLES = 301
const SAMPLE_NS = 0.3e6
/** Of the thread's own CPU time: a busy machine gives less of it, and the compiler takes its time after the first hundred ms. */
const WARM_UP_NS = 300e6

/** Ns of CPU time that this thread has used; of the wall clock before Node 23.9. */
export function now(): number {
  if (typeof process.threadCpuUsage !== 'function') return performance.now() * 1e6
  const { user, system } = process.threadCpuUsage()
  return (user + system) * 1e3
}

/** Ns per operation of `run`, which performs `operations` of them: the 10th percentile. */
export function sample(run: () => void, operations: number): number {
  const began = now()
  let runs = 0
  let spent = 0
  for (; spent < WARM_UP_NS; spent = now() - began) {
    run()
    runs++
  }
  const atOnce = Math.max(1, Math.round((runs * SAMPLE_NS) / spent))
  const times = new Float64Array(SAMPLES)
  for (let i = 0; i < SAMPLES; i++) {
    const start = performance.now()
    for (let j = 0; j < atOnce; j++) run()
    times[i] = ((performance.now() - start) * 1e6) / (atOnce * operations)
  }
  return times.sort()[Math.floor(SAMPLES / 10)]!
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
