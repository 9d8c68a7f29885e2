/**
 * Timing of one operation inside a loop: samples of which the median counts (as in `c/bench.h`). Time is the thread's own CPU time where
 * Node tells it, so that other work on the machine does not count. That clock moves with the kernel's ticks of some milliseconds,
 * so a sample is many of them long and begins where the one before it ended.
 */
const SAMPLES = 9
const SAMPLE_NS = 60e6
const WARM_UP_NS = 100e6
/** About how far apart two looks at the clock are, which are not for nothing. */
const LOOK_NS = 2e6

/** Ns of CPU time that this thread has used; of the wall clock before Node 23.9. */
export function now(): number {
  if (typeof process.threadCpuUsage !== 'function') return performance.now() * 1e6
  const { user, system } = process.threadCpuUsage()
  return (user + system) * 1e3
}

/** Median ns per operation of `run`, which performs `operations` of them. */
export function sample(run: () => void, operations: number): number {
  const began = now()
  let runs = 0
  let start = began
  for (; start - began < WARM_UP_NS; start = now()) {
    run()
    runs++
  }
  const atOnce = Math.max(1, Math.floor((runs * LOOK_NS) / (start - began)))
  const times = new Float64Array(SAMPLES)
  for (let i = 0; i < SAMPLES; i++) {
    let done = 0
    let end = start
    for (; end - start < SAMPLE_NS; end = now()) {
      for (let j = 0; j < atOnce; j++) run()
      done += atOnce
    }
    times[i] = (end - start) / (done * operations)
    start = end
  }
  return times.sort()[SAMPLES >> 1]!
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
