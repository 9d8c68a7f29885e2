/**
 * The one page table, a run of frames, one 4-byte entry per page of the aperture. Table walks do not look into CPU caches, so each store
 * is written back. Where nothing is mapped the entry is the guard: it names a scratch page, because some northbridges send reads to
 * whatever an entry names, valid or not (erratum 156), and devices read ahead past the end of what they were given.
 */
import type { DriverPort } from '../../iommu-driver.ts'
import { ENTRIES_PER_PAGE, entryOf, frameOf, PageEntry } from '../spec/entries.ts'

/** 4-byte entries in a cache line. */
const PER_LINE = 16

export class DriverTable {
  /** First frame, and frames. */
  readonly first: number
  readonly frames: number
  readonly scratch: number
  readonly #port: DriverPort
  readonly #guard: number

  /** `validGuard`: whether accesses to unmapped pages work, on the scratch page, or fail. */
  constructor(port: DriverPort, first: number, pages: number, scratch: number, validGuard: boolean) {
    this.first = first
    this.frames = pages / ENTRIES_PER_PAGE
    this.scratch = scratch
    this.#port = port
    this.#guard = entryOf(scratch, validGuard ? PageEntry.valid | PageEntry.coherent : 0)
    this.clear(0, pages)
  }

  /** Makes `pages` pages from `page` (counted from the start of the aperture) lead to the guard. */
  clear(page: number, pages: number): void {
    for (let i = page; i < page + pages; i++) this.#store(i, this.#guard, i === page + pages - 1)
  }

  /** Makes `pages` pages from `page` lead to frames from `mfn`. */
  map(page: number, pages: number, mfn: number): void {
    const last = page + pages - 1
    for (let i = page; i <= last; i++)
      this.#store(i, entryOf(mfn + i - page, PageEntry.valid | PageEntry.coherent), i === last)
  }

  /** The frame that `page` is mapped to; −1: none. */
  frameOf(page: number): number {
    const mfn = this.first + Math.floor(page / ENTRIES_PER_PAGE)
    const pair = (page % ENTRIES_PER_PAGE) >>> 1
    const entry = (page & 1) === 0 ? this.#port.loadLow(mfn, pair) : this.#port.loadHigh(mfn, pair)
    return entry === this.#guard ? -1 : frameOf(entry)
  }

  /** The first of `pages` pages from `page` that is mapped; −1: none. */
  firstMapped(page: number, pages: number): number {
    for (let i = page; i < page + pages; i++) if (this.frameOf(i) >= 0) return i
    return -1
  }

  // Lines are written back whole: with the last entry of each, and with the last of all.
  #store(page: number, entry: number, last: boolean): void {
    const mfn = this.first + Math.floor(page / ENTRIES_PER_PAGE)
    const index = page % ENTRIES_PER_PAGE
    this.#port.store32(mfn, index, entry)
    if (last || index % PER_LINE === PER_LINE - 1) this.#port.flushLine(mfn, index >>> 1)
  }
}
