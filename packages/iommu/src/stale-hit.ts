/**
 * The stale-hit detector: tells when a device used a translation that memory no longer grants. Forgetting to invalidate is the mistake
 * that a unit with caches turns into a hole; here it can be seen at the very access.
 *
 * Every hardware class has `onStaleHit`. While it is set, each access that is served from a cache (translations, directories, contexts
 * or device entries) is compared with a fresh walk of memory, which charges no counter, logs no fault and sets no bit in tables. Null, as
 * it is by default, costs one test at most.
 */
export interface StaleHit {
  /** Requester id as on the bus. */
  requester: number
  /** The I/O address that was accessed, as 32-bit halves of any sign. */
  hi: number
  lo: number
  write: boolean
  /** The machine frame that the cache gave; −1 where it gave none, because it leads to no RAM. */
  mfn: number
}

/** Called with the same object each time: copy what is to be kept. */
export type StaleHitHandler = (hit: Readonly<StaleHit>) => void
