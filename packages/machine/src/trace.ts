/**
 * What a run tells a trace: one method per kind of event, numbers only. The board holds at most one sink; without one the cost is a
 * test against null. Times are virtual ns; addresses are numbers below 2^53 (higher ones are rounded: a trace is for people).
 */
export interface TraceSink {
  /** A domain came into being (`name` for people) or, with null, ended. */
  domain(time: number, domid: number, name: string | null): void
  /** Device `sbdf` (machine number) now belongs to `domid` and is translated by `space` of it (−1: blocked or untranslated). */
  device(time: number, sbdf: number, domid: number, space: number): void
  hypercall(start: number, end: number, domid: number, name: string, result: number): void
  map(time: number, domid: number, space: number, ioAddress: number, pages: number): void
  unmap(time: number, domid: number, space: number, ioAddress: number, pages: number): void
  /** `outcome` is a {@link DmaOutcome}. */
  dma(time: number, sbdf: number, write: boolean, ioAddress: number, bytes: number, outcome: number): void
  fault(time: number, sbdf: number, write: boolean, ioAddress: number, reason: number): void
}
