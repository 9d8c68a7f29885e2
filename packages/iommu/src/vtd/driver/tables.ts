/**
 * Second-stage tables in memory, seen from the CPU: creates, fills, splits and clears them, entry by entry, so that a device that
 * walks after any single store finds either the old or the new translation. It does not invalidate; what the unit may still cache is the
 * driver's business, told by {@link changedDirectories} and {@link retired}.
 */
import { InvariantError } from '@iospace/wire'
import { TranslationBank } from '../../cache/translation-bank.ts'
import { DriverStatus, type DriverPort } from '../../iommu-driver.ts'
import type { VtdCapabilities } from '../spec/capabilities.ts'
import { PageEntry, pagesPerEntry, tableIndex } from '../spec/entries.ts'

const ENTRIES = 512
const ENTRIES_PER_LINE = 8
/** Splitting needs at most one page per level and end of the range. */
const MOST_SPLIT_PAGES = 4
/** A shift that makes every page of a {@link TranslationBank} one. */
const EVERY_PAGE = 48
/** Results of a search for a leaf table. */
const ABSENT = -1
const LARGE = -2

export class SecondStageTables {
  /** Pages of this table in use, by table. */
  declare readonly pages: Int32Array
  /** Table pages that no entry leads to any more; they may be freed once no directory cache knows them. */
  readonly retired: number[] = []
  /** An entry above the leaf level was changed or removed. */
  changedDirectories = false
  declare private readonly port: DriverPort
  declare private readonly roots: Int32Array
  declare private readonly depths: Uint8Array
  declare private readonly pages2M: boolean
  declare private readonly pages1G: boolean
  /** Leaf tables by table and 2 MiB page: spares most descents. Emptied of a table whenever one of its directories goes. */
  readonly #leaves = new TranslationBank({ sets: 64, ways: 2 })
  readonly #spare = new Int32Array(MOST_SPLIT_PAGES)
  #spares = 0

  constructor(port: DriverPort, capabilities: VtdCapabilities, tables: number) {
    this.port = port
    this.pages = new Int32Array(tables)
    this.roots = new Int32Array(tables).fill(-1)
    this.depths = new Uint8Array(tables)
    this.pages2M = capabilities.pages2M
    this.pages1G = capabilities.pages1G
  }

  /** An empty table of `levels` levels; noMemory or ok. */
  create(table: number, levels: number): number {
    const root = this.port.allocatePage()
    if (root < 0) return DriverStatus.noMemory
    this.roots[table] = root
    this.depths[table] = levels
    this.pages[table] = 1
    return DriverStatus.ok
  }

  exists(table: number): boolean {
    return table > 0 && table < this.roots.length && this.roots[table]! >= 0
  }

  root(table: number): number {
    return this.roots[table]!
  }

  levels(table: number): number {
    return this.depths[table]!
  }

  /** Frees every page. Nothing may know them any more. */
  destroy(table: number): void {
    this.#eachPage(this.roots[table]!, this.depths[table]!, (mfn) => this.port.freePage(mfn))
    this.roots[table] = -1
    this.pages[table] = 0
    this.#leaves.dropRange(table, 0, 0, EVERY_PAGE)
  }

  /** Calls `visit` for every page of `table`, children before parents. */
  eachPage(table: number, visit: (mfn: number) => void): void {
    this.#eachPage(this.roots[table]!, this.depths[table]!, visit)
  }

  /** One 4 KiB page. The slot must be free. */
  mapPage(table: number, hi: number, lo: number, mfn: number, rights: number): number {
    let leaf = this.#leaves.find(table, (hi << 11) | (lo >>> 21), hi >>> 21, PageEntry.rights)
    if (leaf < 0) {
      leaf = this.#tableFor(table, hi, lo, 1)
      if (leaf < 0) return leaf
      this.#leaves.insert(table, (hi << 11) | (lo >>> 21), hi >>> 21, PageEntry.rights, leaf)
    }
    const index = (lo >>> 12) & 511
    if ((this.port.loadLow(leaf, index) & PageEntry.rights) !== 0) throw mapped(hi, lo)
    this.port.publish64(leaf, index, mfn >>> 20, (mfn << 12) | rights)
    return DriverStatus.ok
  }

  /** `pages` pages to contiguous frames, the largest pages first. First all tables, so that noMemory leaves nothing mapped. */
  mapRange(
    table: number,
    hi: number,
    lo: number,
    mfn: number,
    pages: number,
    rights: number,
    exact4k: boolean,
  ): number {
    for (let pass = 0; pass < 2; pass++) {
      let upper = hi
      let lower = lo
      for (let done = 0; done < pages;) {
        const level = exact4k ? 1 : this.#levelFor(table, upper, lower, mfn + done, pages - done)
        const frame = this.#tableFor(table, upper, lower, level)
        if (frame < 0) return frame
        const unit = pagesPerEntry(level)
        const index = tableIndex(level, upper, lower)
        const whole = Math.floor((pages - done) / unit)
        const count = level === 1 ? Math.min(whole, ENTRIES - index) : 1
        if (pass === 1) this.#fill(frame, level, index, count, mfn + done, rights, upper, lower)
        done += count * unit
        const next = (lower >>> 0) + count * unit * 4096
        upper = (upper + Math.floor(next / 0x1_0000_0000)) | 0
        lower = next | 0
      }
    }
    return DriverStatus.ok
  }

  /** Clears `pages` pages; holes are skipped. noMemory changes nothing. */
  unmapRange(table: number, hi: number, lo: number, pages: number): number {
    if (pages === 1 && this.#clearPage(table, hi, lo)) return DriverStatus.ok
    if (!this.#reserveForSplits(table, hi, lo, pages)) return DriverStatus.noMemory
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

  /** The frame that (`hi`:`lo`) maps to, −1 when it maps to none. */
  frameOf(table: number, hi: number, lo: number): number {
    let frame = this.roots[table]!
    for (let level = this.depths[table]!; ; level--) {
      const index = tableIndex(level, hi, lo)
      const low = this.port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0) return -1
      const next = entryFrame(this.port.loadHigh(frame, index), low)
      if (level === 1 || (low & PageEntry.large) !== 0)
        return next + ((((hi << 20) | (lo >>> 12)) & (pagesPerEntry(level) - 1)) >>> 0)
      frame = next
    }
  }

  /** Rights of the entry that maps (`hi`:`lo`), 0 when none does. */
  rightsOf(table: number, hi: number, lo: number): number {
    let frame = this.roots[table]!
    for (let level = this.depths[table]!; ; level--) {
      const index = tableIndex(level, hi, lo)
      const low = this.port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0 || level === 1 || (low & PageEntry.large) !== 0) return low & PageEntry.rights
      frame = entryFrame(this.port.loadHigh(frame, index), low)
    }
  }

  /** Unlinks and retires the pages that map nothing; how many. */
  retireEmpty(table: number): number {
    const before = this.retired.length
    this.#pruneBelow(table, this.roots[table]!, this.depths[table]!)
    return this.retired.length - before
  }

  // The table of `level` that covers (hi:lo), made with its parents where missing; noMemory.
  #tableFor(table: number, hi: number, lo: number, level: number): number {
    const port = this.port
    let frame = this.roots[table]!
    for (let at = this.depths[table]!; at > level; at--) {
      const index = tableIndex(at, hi, lo)
      const low = port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0) {
        const made = port.allocatePage()
        if (made < 0) return DriverStatus.noMemory
        this.pages[table]!++
        port.publish64(frame, index, made >>> 20, (made << 12) | PageEntry.rights)
        frame = made
      } else {
        if ((low & PageEntry.large) !== 0) throw mapped(hi, lo)
        frame = entryFrame(port.loadHigh(frame, index), low)
      }
    }
    return frame
  }

  // The level of the largest page that can stand here: aligned on both sides, enough left, and no table in its place.
  #levelFor(table: number, hi: number, lo: number, mfn: number, left: number): number {
    const fits = (level: number) => {
      const pages = pagesPerEntry(level)
      return left >= pages && mfn % pages === 0 && (lo & (pages * 4096 - 1)) === 0 && this.#isFree(table, hi, lo, level)
    }
    if (this.pages1G && fits(3)) return 3
    return this.pages2M && fits(2) ? 2 : 1
  }

  #isFree(table: number, hi: number, lo: number, level: number): boolean {
    let frame = this.roots[table]!
    for (let at = this.depths[table]!; ; at--) {
      const index = tableIndex(at, hi, lo)
      const low = this.port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0) return true
      if (at === level) return false
      if ((low & PageEntry.large) !== 0) throw mapped(hi, lo)
      frame = entryFrame(this.port.loadHigh(frame, index), low)
    }
  }

  #fill(
    frame: number,
    level: number,
    first: number,
    count: number,
    mfn: number,
    rights: number,
    hi: number,
    lo: number,
  ): void {
    const port = this.port
    const flags = level === 1 ? rights : rights | PageEntry.large
    for (let i = 0; i < count; i++) {
      const index = first + i
      const target = mfn + i
      if ((port.loadLow(frame, index) & PageEntry.rights) !== 0) throw mapped(hi, lo)
      port.store64(frame, index, target >>> 20, (target << 12) | flags)
      if ((index + 1) % ENTRIES_PER_LINE === 0 || i === count - 1) port.flushLine(frame, index)
    }
  }

  // The short way for one page with a leaf table; false when a larger page is in the way.
  #clearPage(table: number, hi: number, lo: number): boolean {
    let leaf = this.#leaves.find(table, (hi << 11) | (lo >>> 21), hi >>> 21, PageEntry.rights)
    if (leaf < 0) {
      leaf = this.#leafTable(table, hi, lo)
      if (leaf < 0) return leaf === ABSENT
      this.#leaves.insert(table, (hi << 11) | (lo >>> 21), hi >>> 21, PageEntry.rights, leaf)
    }
    this.port.publish64(leaf, (lo >>> 12) & 511, 0, 0)
    return true
  }

  // The leaf table that covers (hi:lo), ABSENT, or LARGE when a larger page is in its place.
  #leafTable(table: number, hi: number, lo: number): number {
    let frame = this.roots[table]!
    for (let level = this.depths[table]!; level > 1; level--) {
      const index = tableIndex(level, hi, lo)
      const low = this.port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0) return ABSENT
      if ((low & PageEntry.large) !== 0) return LARGE
      frame = entryFrame(this.port.loadHigh(frame, index), low)
    }
    return frame
  }

  // Clears at least one page from (hi:lo) on, of the `left` wanted: returns how many pages are done.
  #clearSome(table: number, hi: number, lo: number, left: number): number {
    const port = this.port
    let frame = this.roots[table]!
    for (let level = this.depths[table]!; ; level--) {
      const index = tableIndex(level, hi, lo)
      if (level === 1) return this.#clearRun(frame, index, Math.min(left, ENTRIES - index))
      const unit = pagesPerEntry(level)
      const inside = ((hi >>> 0) * 0x10_0000 + (lo >>> 12)) % unit
      const low = port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0) return Math.min(left, unit - inside)
      let below = entryFrame(port.loadHigh(frame, index), low)
      const large = (low & PageEntry.large) !== 0
      if (inside === 0 && left >= unit) {
        port.publish64(frame, index, 0, 0)
        if (!large) this.#retire(table, below, level - 1)
        return unit
      }
      if (large) below = this.#split(table, frame, index, level, below, low & PageEntry.rights)
      frame = below
    }
  }

  #clearRun(frame: number, first: number, count: number): number {
    const port = this.port
    for (let index = first; index < first + count; index++) {
      port.store64(frame, index, 0, 0)
      if ((index + 1) % ENTRIES_PER_LINE === 0 || index === first + count - 1) port.flushLine(frame, index)
    }
    return count
  }

  // Replaces a large leaf by a table that maps the same, in one store. The page comes from the spares.
  #split(table: number, frame: number, index: number, level: number, mfn: number, rights: number): number {
    const port = this.port
    const made = this.#spare[--this.#spares]!
    this.pages[table]!++
    const unit = pagesPerEntry(level - 1)
    const flags = level === 2 ? rights : rights | PageEntry.large
    for (let i = 0; i < ENTRIES; i++) {
      const target = mfn + i * unit
      port.store64(made, i, target >>> 20, (target << 12) | flags)
      if ((i + 1) % ENTRIES_PER_LINE === 0) port.flushLine(made, i)
    }
    port.publish64(frame, index, made >>> 20, (made << 12) | PageEntry.rights)
    this.changedDirectories = true
    return made
  }

  // Takes the tree of `level` below an unlinked entry out of use.
  #retire(table: number, frame: number, level: number): void {
    this.changedDirectories = true
    this.#leaves.dropRange(table, 0, 0, EVERY_PAGE)
    this.#eachPage(frame, level, (mfn) => {
      this.retired.push(mfn)
      this.pages[table]!--
    })
  }

  // Large pages that only partly lie in the range can be at its two ends alone.
  #reserveForSplits(table: number, hi: number, lo: number, pages: number): boolean {
    const first = (hi >>> 0) * 0x10_0000 + (lo >>> 12)
    const end = first + pages
    const atFirst = this.#largeAt(table, first)
    const atEnd = this.#largeAt(table, end)
    let wanted = 0
    for (let level = 3; level > 1; level--) {
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
    const hi = Math.floor(page / 0x10_0000) | 0
    const lo = (page % 0x10_0000) << 12
    let frame = this.roots[table]!
    for (let level = this.depths[table]!; level > 1; level--) {
      const index = tableIndex(level, hi, lo)
      const low = this.port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0) return 0
      if ((low & PageEntry.large) !== 0) return level
      frame = entryFrame(this.port.loadHigh(frame, index), low)
    }
    return 0
  }

  #returnSpares(): void {
    while (this.#spares > 0) this.port.freePage(this.#spare[--this.#spares]!)
  }

  // True when nothing is left below `frame`.
  #pruneBelow(table: number, frame: number, level: number): boolean {
    const port = this.port
    let empty = true
    for (let index = 0; index < ENTRIES; index++) {
      const low = port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0) continue
      const leaf = level === 1 || (low & PageEntry.large) !== 0
      const below = entryFrame(port.loadHigh(frame, index), low)
      if (leaf || !this.#pruneBelow(table, below, level - 1)) empty = false
      else {
        port.publish64(frame, index, 0, 0)
        this.#retire(table, below, 1)
      }
      if (!empty && level === 1) return false
    }
    return empty
  }

  #eachPage(frame: number, level: number, visit: (mfn: number) => void): void {
    for (let index = 0; level > 1 && index < ENTRIES; index++) {
      const low = this.port.loadLow(frame, index)
      if ((low & PageEntry.rights) === 0 || (low & PageEntry.large) !== 0) continue
      this.#eachPage(entryFrame(this.port.loadHigh(frame, index), low), level - 1, visit)
    }
    visit(frame)
  }
}

// Frames in our own tables are below 2^31.
const entryFrame = (high: number, low: number): number => ((high & PageEntry.addressHigh) << 20) | (low >>> 12)

function mapped(hi: number, lo: number): InvariantError {
  const address = (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0)
  return new InvariantError('a range is unmapped before it is mapped', `0x${address.toString(16)} is mapped`)
}
