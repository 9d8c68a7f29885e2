/**
 * The invalidation that is being gathered: neighbouring ranges of one table are joined, and go out as one or two naturally aligned blocks
 * of 2^n pages, the form that units take.
 */
import { DriverStatus } from '../iommu-driver.ts'

/** Ranges are joined up to here, so that their length in bytes stays far below 2^32. */
const JOINED = 0x1_0000

/** Page numbers below it, and their doubles, are small integers. */
const SMALL = 0x4000_0000

// Constants of other modules as this module's own: those are what the compiler folds.
const OK = DriverStatus.ok

/** Takes the 2^`order` naturally aligned pages at (`hi`:`lo`) of `table`; a driver status. */
export interface BlockQueue {
  block(table: number, hi: number, lo: number, order: number): number
}

export class InvalidationRange {
  declare private readonly queue: BlockQueue
  /** 0: there is none. */
  #table = 0
  #hi = 0
  #lo = 0
  #pages = 0

  constructor(queue: BlockQueue) {
    this.queue = queue
  }

  /** Adds a range; what does not join it is queued. */
  add(table: number, hi: number, lo: number, pages: number): number {
    if (this.#table !== 0) {
      if (this.#table === table && this.#hi === hi) {
        const offset = (lo - this.#lo) >>> 12
        if (offset + pages <= this.#pages) return OK
        if (offset === this.#pages && offset < JOINED) {
          this.#pages += pages
          return OK
        }
      }
      const status = this.flush()
      if (status !== DriverStatus.ok) return status
    }
    this.#table = table
    this.#hi = hi
    this.#lo = lo
    this.#pages = pages
    return DriverStatus.ok
  }

  /** Drops what was gathered for `table`; 0 for any. */
  forget(table: number): void {
    if (table === 0 || this.#table === table) this.#table = 0
  }

  /** Queues what was gathered. */
  flush(): number {
    const table = this.#table
    if (table === 0) return DriverStatus.ok
    this.#table = 0
    if (this.#pages === 1) return this.queue.block(table, this.#hi, this.#lo, 0)
    const first = (this.#hi >>> 0) * 0x10_0000 + (this.#lo >>> 12)
    const last = first + this.#pages - 1
    if (last < SMALL) return this.#flushSmall(table, first, last)
    const order = coveringOrder(first, last)
    if (order <= 1 || 2 ** order <= 2 * (last - first + 1)) return this.#block(table, first, order)
    // Both halves on the sides of the highest border inside the range are covered by blocks of less than twice their size.
    const border = Math.floor(last / 2 ** (order - 1)) * 2 ** (order - 1)
    const status = this.#block(table, first, coveringOrder(first, border - 1))
    return status === DriverStatus.ok ? this.#block(table, border, coveringOrder(border, last)) : status
  }

  // The same for page numbers that are small integers, by shifts.
  #flushSmall(table: number, first: number, last: number): number {
    const order = 32 - Math.clz32(first ^ last)
    if (order <= 1 || 1 << order <= 2 * (last - first + 1)) return this.#smallBlock(table, first, order)
    const border = last & (-1 << (order - 1))
    const status = this.#smallBlock(table, first, 32 - Math.clz32(first ^ (border - 1)))
    return status === OK ? this.#smallBlock(table, border, 32 - Math.clz32(border ^ last)) : status
  }

  #smallBlock(table: number, page: number, order: number): number {
    const start = page & (-1 << order)
    return this.queue.block(table, start >>> 20, start << 12, order)
  }

  #block(table: number, page: number, order: number): number {
    const start = Math.floor(page / 2 ** order) * 2 ** order
    return this.queue.block(table, Math.floor(start / 0x10_0000) | 0, (start % 0x10_0000) << 12, order)
  }
}

/** log2 of the smallest naturally aligned block of pages that holds both `first` and `last`. */
function coveringOrder(first: number, last: number): number {
  let order = 0
  while (first !== last) {
    first = Math.floor(first / 2)
    last = Math.floor(last / 2)
    order++
  }
  return order
}
