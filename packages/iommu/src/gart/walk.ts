/**
 * The one table look-up of the GART: is the address in the aperture, and which frame does its entry name. The hardware uses it on a
 * miss; `iospace walk`, explanations and tests use it with an observer. It has no caches and logs nothing.
 *
 * A result is a frame number (0 ≤ n < 2^52), or −{@link Fault}. Reserved entry bits 3:2 are not looked at: no register could report
 * them, and no source says that hardware does. The window of interrupt messages is not looked at here.
 */
import type { TableMemory } from '../table-memory.ts'
import { ENTRIES_PER_PAGE, frameOf, PageEntry } from './spec/entries.ts'
import { Fault } from './spec/faults.ts'
import { ApertureControl, apertureFirstPage, aperturePages, tableFrame } from './spec/registers.ts'

/** Every mapping gives both: 1 read, 2 write. */
export const GART_RIGHTS = 3

// Constants of other modules as this module's own: those are what the compiler folds.
const { enable: ENABLE, disableIo: DISABLE_IO } = ApertureControl
const { valid: VALID, coherent: COHERENT } = PageEntry
const RIGHTS = GART_RIGHTS
const ENTRIES = ENTRIES_PER_PAGE
const pagesOf = aperturePages
const firstPageOf = apertureFirstPage
const tableOf = tableFrame
const frameIn = frameOf

/** Told of the entry that a look-up reads: entry `index` (0…1023) of frame `mfn` of the table, 4 bytes. */
export type GartWalkObserver = (mfn: number, index: number, entry: number) => void

export class GartWalk {
  /** Of the last result that is a frame: what may be done there, and log2 of the page's bytes; 0 where the address passed as it is. */
  pageRights = 0
  pageShift = 0
  /** The entry that the last look-up read. */
  entry = 0
  /** Where the table could not be read, and how: the answer of {@link TableMemory}. */
  failedHi = 0
  failedLo = 0
  failedType = 0
  /** Entries read since this was last set to 0. */
  reads = 0
  declare private readonly memory: TableMemory
  declare private readonly flatFrames: number

  constructor(memory: TableMemory) {
    this.memory = memory
    this.flatFrames = memory.flatFrames ?? 0
  }

  /** Whether {@link entry} makes accesses look into CPU caches. */
  get coherent(): boolean {
    return (this.entry & COHERENT) !== 0
  }

  /** The whole way of a device's request at (`hi`:`lo`), from the values of F3x90, F3x94 and F3x98. */
  request(
    control: number,
    base: number,
    table: number,
    hi: number,
    lo: number,
    observer: GartWalkObserver | null = null,
  ): number {
    const translates = (control & (ENABLE | DISABLE_IO)) === ENABLE
    const index = (((hi << 20) | (lo >>> 12)) - firstPageOf(control, base)) >>> 0
    if (!translates || hi >>> 8 !== 0 || index >= pagesOf(control)) {
      this.pageRights = RIGHTS
      this.pageShift = 0
      return (hi >>> 0) * 0x10_0000 + (lo >>> 12)
    }
    return this.page(tableOf(table), index, observer)
  }

  /** The frame that entry `page` (counted from the start of the aperture) of the table at frame `table` names, or −fault. */
  page(table: number, page: number, observer: GartWalkObserver | null = null): number {
    const mfn = table + (page >>> 10)
    const index = page & (ENTRIES - 1)
    const at = this.#wordAt(mfn, index)
    if (at < 0) {
      const address = mfn * 4096 + index * 4
      this.failedHi = Math.floor(address / 0x1_0000_0000)
      this.failedLo = address | 0
      this.failedType = at
      return -Fault.tableAccess
    }
    this.reads++
    const entry = this.memory.words[at]!
    this.entry = entry
    if (observer !== null) observer(mfn, index, entry)
    if ((entry & VALID) === 0) return -Fault.invalidEntry
    this.pageRights = RIGHTS
    this.pageShift = 12
    return frameIn(entry)
  }

  #wordAt(mfn: number, index: number): number {
    const { memory } = this
    if (mfn < this.flatFrames) return (mfn << 10) | index
    if (memory.wordAt !== undefined) return memory.wordAt(mfn, index)
    const pair = memory.entryAt(mfn, index >>> 1)
    return pair < 0 ? pair : pair | (index & 1)
  }
}
