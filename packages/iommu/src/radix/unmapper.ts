/** Unmaps pages in radix tables; a larger page that is only partly to go is split first, with no store after which the rest of it faults. */
import { DriverStatus, type DriverPort } from '../iommu-driver.ts'
import { ENTRIES } from './entries.ts'
import { pagesPerEntry, tableIndex } from './format.ts'
import { ABSENT, type RadixTree } from './tree.ts'

/** Splitting needs at most one page per level and end of the range. */
const MOST_SPLIT_PAGES = 4

// Constants of other modules as this module's own: those are what the compiler folds.
const OK = DriverStatus.ok
const NO_TABLE = ABSENT

export class RadixUnmapper {
  declare private readonly port: DriverPort
  declare private readonly tree: RadixTree
  readonly #spare = new Int32Array(MOST_SPLIT_PAGES)
  #spares = 0

  constructor(port: DriverPort, tree: RadixTree) {
    this.port = port
    this.tree = tree
  }

  /** Clears `pages` pages; holes are skipped. noMemory changes nothing. */
  unmapRange(table: number, hi: number, lo: number, pages: number): number {
    if (pages === 1 && this.clearPage(table, hi, lo)) return OK
    if (!this.#reserve(table, hi, lo, pages)) return DriverStatus.noMemory
    let upper = hi
    let lower = lo
    for (let left = pages; left > 0;) {
      const done = this.#clearSome(table, upper, lower, left)
      left -= done
      const next = (lower >>> 0) + done * 4096
      upper = (upper + Math.floor(next / 0x1_0000_0000)) | 0
      lower = next | 0
    }
    this.#returnSpares()
    return DriverStatus.ok
  }

  /** The short way for one page with a leaf table, mapped or not; false, with nothing done, when a larger page is in the way. */
  clearPage(table: number, hi: number, lo: number): boolean {
    const { tree } = this
    const leaf = tree.leafTable(table, hi, lo, false)
    if (leaf < 0) return leaf === NO_TABLE
    this.port.publish64(leaf, (lo >>> 12) & 511, 0, 0)
    return true
  }

  // Clears at least one page from (hi:lo) on, of the `left` wanted: returns how many pages are done.
  #clearSome(table: number, hi: number, lo: number, left: number): number {
    const tree = this.tree
    const { entries } = tree
    let frame = tree.root(table)
    for (let level = tree.levels(table); ; level--) {
      const index = tableIndex(level, hi, lo)
      if (level === 1) {
        const count = Math.min(left, ENTRIES - index)
        entries.clear(frame, index, count)
        return count
      }
      const unit = pagesPerEntry(level)
      const inside = ((hi >>> 0) * 0x10_0000 + (lo >>> 12)) % unit
      if (!entries.isPresent(frame, index)) return Math.min(left, unit - inside)
      const below = entries.target(frame, index)
      const large = entries.isLeaf(frame, index, level)
      if (inside === 0 && left >= unit) {
        entries.clear(frame, index, 1)
        if (!large) tree.retire(table, below, level - 1)
        return unit
      }
      frame = large ? this.#split(table, frame, index, level) : below
    }
  }

  // Replaces a large leaf of `level` by a table that maps the same, in one store. The page comes from the spares.
  #split(table: number, frame: number, index: number, level: number): number {
    const tree = this.tree
    const { entries } = tree
    const made = this.#spare[--this.#spares]!
    tree.pages[table]!++
    entries.setLeaves(
      made,
      0,
      ENTRIES,
      level - 1,
      entries.target(frame, index),
      pagesPerEntry(level - 1),
      entries.access(frame, index),
    )
    entries.link(frame, index, made, level - 1)
    tree.changedDirectories = true
    return made
  }

  // Large pages that only partly lie in the range can be at its two ends alone; both ends may lie in one.
  #reserve(table: number, hi: number, lo: number, pages: number): boolean {
    const first = (hi >>> 0) * 0x10_0000 + (lo >>> 12)
    const end = first + pages
    const atFirst = this.#largeAt(table, first)
    const atEnd = this.#largeAt(table, end)
    let wanted = 0
    for (let level = Math.max(atFirst, atEnd); level > 1; level--) {
      const unit = pagesPerEntry(level)
      const splitsFirst = level <= atFirst && first % unit !== 0
      const splitsEnd = level <= atEnd && end % unit !== 0
      const same = splitsFirst && Math.floor(first / unit) === Math.floor(end / unit)
      wanted += (splitsFirst ? 1 : 0) + (splitsEnd && !same ? 1 : 0)
    }
    while (this.#spares < wanted) {
      const page = this.port.allocatePage()
      if (page < 0) {
        this.#returnSpares()
        return false
      }
      this.#spare[this.#spares++] = page
    }
    return true
  }

  // Level of the large page that I/O page `page` lies in, 0 when it lies in none.
  #largeAt(table: number, page: number): number {
    const tree = this.tree
    const { entries } = tree
    const hi = Math.floor(page / 0x10_0000) | 0
    const lo = (page % 0x10_0000) << 12
    let frame = tree.root(table)
    for (let level = tree.levels(table); level > 1; level--) {
      const index = tableIndex(level, hi, lo)
      if (!entries.isPresent(frame, index)) return 0
      if (entries.isLeaf(frame, index, level)) return level
      frame = entries.target(frame, index)
    }
    return 0
  }

  #returnSpares(): void {
    while (this.#spares > 0) this.port.freePage(this.#spare[--this.#spares]!)
  }
}
