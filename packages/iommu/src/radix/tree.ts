/**
 * Radix tables as trees of pages: their roots, the way down, the pages that leave them. It does not invalidate; what a unit may still cache
 * is the driver's business, told by {@link RadixTree.changedDirectories} and {@link RadixTree.retired}.
 */
import { TranslationBank } from '../cache/translation-bank.ts'
import { DriverStatus, type DriverPort } from '../iommu-driver.ts'
import { ENTRIES, mapped, type RadixEntries } from './entries.ts'
import { pagesPerEntry, tableIndex } from './format.ts'

/** A shift that makes every page of a {@link TranslationBank} one. */
const EVERY_PAGE = 48
const BOTH = 3
/** Results of {@link RadixTree.leafTable} that are no frame. */
export const ABSENT = -1
export const LARGE = -2

export class RadixTree {
  declare readonly entries: RadixEntries
  /** Pages in use, by table. */
  declare readonly pages: Int32Array
  /** Pages that no entry leads to any more; they may be freed once no directory cache knows them. */
  readonly retired: number[] = []
  /** An entry above the leaf level was changed or removed. */
  changedDirectories = false
  declare private readonly port: DriverPort
  declare private readonly roots: Int32Array
  declare private readonly heights: Uint8Array
  /** Leaf tables by table and 2 MiB page: spares most descents. Emptied of a table whenever one of its directories goes. */
  readonly #leaves = new TranslationBank({ sets: 64, ways: 2 })
  /** The leaf table that was asked for last: of which table, and of which 2 MiB page below 2^53. 0: of none. */
  #lastTable = 0
  #lastPage = 0
  #lastLeaf = 0

  /** `tables`: handles are below it; 0 is none. */
  constructor(port: DriverPort, entries: RadixEntries, tables: number) {
    this.port = port
    this.entries = entries
    this.pages = new Int32Array(tables)
    this.roots = new Int32Array(tables).fill(-1)
    this.heights = new Uint8Array(tables)
  }

  /** An empty table of `levels` levels; noMemory or ok. */
  create(table: number, levels: number): number {
    const root = this.port.allocatePage()
    if (root < 0) return DriverStatus.noMemory
    this.roots[table] = root
    this.heights[table] = levels
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
    return this.heights[table]!
  }

  /** Frees every page. Nothing may know them any more. */
  destroy(table: number): void {
    this.eachPage(table, (mfn) => this.port.freePage(mfn))
    this.roots[table] = -1
    this.pages[table] = 0
    this.#forgetLeaves(table)
  }

  /** Calls `visit` for every page of `table`, children before parents. */
  eachPage(table: number, visit: (mfn: number) => void): void {
    this.#eachPage(this.roots[table]!, this.heights[table]!, visit)
  }

  /** The frame that (`hi`:`lo`) maps to, −1 when it maps to none. */
  frameOf(table: number, hi: number, lo: number): number {
    const { entries } = this
    let frame = this.roots[table]!
    for (let level = this.heights[table]!; ; level--) {
      const index = tableIndex(level, hi, lo)
      if (!entries.isPresent(frame, index)) return -1
      const next = entries.target(frame, index)
      if (entries.isLeaf(frame, index, level))
        return next + (((hi >>> 0) * 0x10_0000 + (lo >>> 12)) % pagesPerEntry(level))
      frame = next
    }
  }

  /** Access bits of the entry that maps (`hi`:`lo`), 0 when none does. */
  accessOf(table: number, hi: number, lo: number): number {
    const { entries } = this
    let frame = this.roots[table]!
    for (let level = this.heights[table]!; ; level--) {
      const index = tableIndex(level, hi, lo)
      if (!entries.isPresent(frame, index)) return 0
      if (entries.isLeaf(frame, index, level)) return entries.access(frame, index)
      frame = entries.target(frame, index)
    }
  }

  /** The table of `level` that covers (`hi`:`lo`), made with its parents where missing; noMemory. A leaf above it is the caller's mistake. */
  tableFor(table: number, hi: number, lo: number, level: number): number {
    const { entries } = this
    let frame = this.roots[table]!
    for (let at = this.heights[table]!; at > level; at--) {
      const index = tableIndex(at, hi, lo)
      if (!entries.isPresent(frame, index)) {
        const made = this.port.allocatePage()
        if (made < 0) return DriverStatus.noMemory
        this.pages[table]!++
        entries.link(frame, index, made, at - 1)
        frame = made
      } else {
        if (entries.isLeaf(frame, index, at)) throw mapped(hi, lo)
        frame = entries.target(frame, index)
      }
    }
    return frame
  }

  /** The leaf table that covers (`hi`:`lo`): {@link ABSENT} when there is none and, with `make`, no page for one; {@link LARGE} when a larger page is there. */
  leafTable(table: number, hi: number, lo: number, make: boolean): number {
    const page = (hi << 11) | (lo >>> 21)
    return page === this.#lastPage && table === this.#lastTable && hi >>> 21 === 0
      ? this.#lastLeaf
      : this.#findLeafTable(table, hi, lo, page, make)
  }

  /** Whether nothing stands where an entry of `level` would map (`hi`:`lo`). */
  isFree(table: number, hi: number, lo: number, level: number): boolean {
    const { entries } = this
    let frame = this.roots[table]!
    for (let at = this.heights[table]!; ; at--) {
      const index = tableIndex(at, hi, lo)
      if (!entries.isPresent(frame, index)) return true
      if (at === level) return false
      if (entries.isLeaf(frame, index, at)) throw mapped(hi, lo)
      frame = entries.target(frame, index)
    }
  }

  /** Takes the tree of `level` below an entry that no longer leads to it out of use. */
  retire(table: number, frame: number, level: number): void {
    this.changedDirectories = true
    this.#forgetLeaves(table)
    this.#eachPage(frame, level, (mfn) => {
      this.retired.push(mfn)
      this.pages[table]!--
    })
  }

  /** Unlinks and retires the pages that map nothing; how many. */
  retireEmpty(table: number): number {
    const before = this.retired.length
    this.#pruneBelow(table, this.roots[table]!, this.heights[table]!)
    return this.retired.length - before
  }

  #findLeafTable(table: number, hi: number, lo: number, page: number, make: boolean): number {
    let leaf = this.#leaves.find(table, page, hi >>> 21, BOTH)
    if (leaf < 0) {
      leaf = this.#searchLeafTable(table, hi, lo)
      if (leaf === ABSENT && make) leaf = this.tableFor(table, hi, lo, 1)
      if (leaf < 0) return leaf
      this.#leaves.insert(table, page, hi >>> 21, BOTH, leaf)
    }
    if (hi >>> 21 === 0) {
      this.#lastTable = table
      this.#lastPage = page
      this.#lastLeaf = leaf
    }
    return leaf
  }

  #forgetLeaves(table: number): void {
    this.#leaves.dropRange(table, 0, 0, EVERY_PAGE)
    this.#lastTable = 0
  }

  #searchLeafTable(table: number, hi: number, lo: number): number {
    const { entries } = this
    let frame = this.roots[table]!
    for (let level = this.heights[table]!; level > 1; level--) {
      const index = tableIndex(level, hi, lo)
      if (!entries.isPresent(frame, index)) return ABSENT
      if (entries.isLeaf(frame, index, level)) return LARGE
      frame = entries.target(frame, index)
    }
    return frame
  }

  // True when nothing is left below `frame`.
  #pruneBelow(table: number, frame: number, level: number): boolean {
    const { entries } = this
    let empty = true
    for (let index = 0; index < ENTRIES; index++) {
      if (!entries.isPresent(frame, index)) continue
      const below = entries.target(frame, index)
      if (entries.isLeaf(frame, index, level) || !this.#pruneBelow(table, below, level - 1)) empty = false
      else {
        entries.clear(frame, index, 1)
        this.retire(table, below, 1)
      }
      if (!empty && level === 1) return false
    }
    return empty
  }

  #eachPage(frame: number, level: number, visit: (mfn: number) => void): void {
    const { entries } = this
    for (let index = 0; level > 1 && index < ENTRIES; index++) {
      if (entries.isPresent(frame, index) && !entries.isLeaf(frame, index, level))
        this.#eachPage(entries.target(frame, index), level - 1, visit)
    }
    visit(frame)
  }
}
