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

/** Told of the entry that a look-up reads: entry `index` (0…1023) of frame `mfn` of the table, 4 bytes. */
export type GartWalkObserver = (mfn: number, index: number, entry: number) => void

export class GartWalk {
  /** Of the last result that is a frame: what may be done there, and log2 of the page's bytes; 0 where the address passed as it is. */
  pageRights = 0
  pageShift = 0
  /** The entry that the last look-up read, and whether it makes accesses look into CPU caches. */
  entry = 0
  coherent = false
  /** Where the table could not be read, and how: the answer of {@link TableMemory}. */
  failedHi = 0
  failedLo = 0
  failedType = 0
  /** Entries read since this was last set to 0. */
  reads = 0
  declare private readonly memory: TableMemory

  constructor(memory: TableMemory) {
    this.memory = memory
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
    const translates = (control & (ApertureControl.enable | ApertureControl.disableIo)) === ApertureControl.enable
    const index = (((hi << 20) | (lo >>> 12)) - apertureFirstPage(control, base)) >>> 0
    if (!translates || hi >>> 8 !== 0 || index >= aperturePages(control)) {
      this.pageRights = GART_RIGHTS
      this.pageShift = 0
      return (hi >>> 0) * 0x10_0000 + (lo >>> 12)
    }
    return this.page(tableFrame(table), index, observer)
  }

  /** The frame that entry `page` (counted from the start of the aperture) of the table at frame `table` names, or −fault. */
  page(table: number, page: number, observer: GartWalkObserver | null = null): number {
    const mfn = table + Math.floor(page / ENTRIES_PER_PAGE)
    const index = page % ENTRIES_PER_PAGE
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
    if ((entry & PageEntry.valid) === 0) return -Fault.invalidEntry
    this.coherent = (entry & PageEntry.coherent) !== 0
    this.pageRights = GART_RIGHTS
    this.pageShift = 12
    return frameOf(entry)
  }

  #wordAt(mfn: number, index: number): number {
    const { memory } = this
    if (memory.wordAt !== undefined) return memory.wordAt(mfn, index)
    const pair = memory.entryAt(mfn, index >>> 1)
    return pair < 0 ? pair : pair | (index & 1)
  }
}
