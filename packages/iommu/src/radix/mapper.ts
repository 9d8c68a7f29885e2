/** Maps pages in radix tables, the largest pages first, so that a device that walks after any single store finds the old or the new translation. */
import { DriverStatus } from '../iommu-driver.ts'
import { ENTRIES, mapped } from './entries.ts'
import { pagesPerEntry, tableIndex } from './format.ts'
import { LARGE, type RadixTree } from './tree.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { ok: OK, noMemory: NO_MEMORY } = DriverStatus
const LARGE_PAGE = LARGE

export class RadixMapper {
  declare private readonly tree: RadixTree

  constructor(tree: RadixTree) {
    this.tree = tree
  }

  /** One 4 KiB page. The slot must be free. */
  mapPage(table: number, hi: number, lo: number, mfn: number, access: number): number {
    const { tree } = this
    const leaf = tree.leafTable(table, hi, lo, true)
    if (leaf === LARGE_PAGE) throw mapped(hi, lo)
    if (leaf < 0) return NO_MEMORY
    if (!tree.entries.fill(leaf, (lo >>> 12) & 511, mfn, access)) throw mapped(hi, lo)
    return OK
  }

  /**
   * `pages` pages to contiguous frames. First all tables, so that noMemory leaves nothing mapped. Where a table has become what one
   * larger page is, that takes its place; never with `exact4k`.
   */
  mapRange(
    table: number,
    hi: number,
    lo: number,
    mfn: number,
    pages: number,
    access: number,
    exact4k: boolean,
  ): number {
    for (let pass = 0; pass < 2; pass++) {
      let upper = hi
      let lower = lo
      for (let done = 0; done < pages;) {
        const level = exact4k ? 1 : this.#levelFor(table, upper, lower, mfn + done, pages - done)
        const frame = this.tree.tableFor(table, upper, lower, level)
        if (frame < 0) return frame
        const unit = pagesPerEntry(level)
        const index = tableIndex(level, upper, lower)
        const whole = Math.floor((pages - done) / unit)
        const count = level === 1 ? Math.min(whole, ENTRIES - index) : 1
        if (pass === 1) {
          this.#fill(frame, level, index, count, mfn + done, access, upper, lower)
          if (!exact4k) this.#merge(table, frame, level, upper, lower)
        }
        done += count * unit
        const next = (lower >>> 0) + count * unit * 4096
        upper = (upper + Math.floor(next / 0x1_0000_0000)) | 0
        lower = next | 0
      }
    }
    return DriverStatus.ok
  }

  #fill(
    frame: number,
    level: number,
    first: number,
    count: number,
    mfn: number,
    access: number,
    hi: number,
    lo: number,
  ): void {
    const { entries } = this.tree
    for (let index = first; index < first + count; index++) if (entries.isPresent(frame, index)) throw mapped(hi, lo)
    entries.setLeaves(frame, first, count, level, mfn, 1, access)
  }

  // The level of the largest page that can stand here: aligned on both sides, enough left, and no table in its place.
  #levelFor(table: number, hi: number, lo: number, mfn: number, left: number): number {
    const { pages2M, pages1G } = this.tree.entries.format
    if (pages1G && this.#fits(table, hi, lo, mfn, left, 3)) return 3
    return pages2M && this.#fits(table, hi, lo, mfn, left, 2) ? 2 : 1
  }

  #fits(table: number, hi: number, lo: number, mfn: number, left: number, level: number): boolean {
    const pages = pagesPerEntry(level)
    return (
      left >= pages && mfn % pages === 0 && (lo & (pages * 4096 - 1)) === 0 && this.tree.isFree(table, hi, lo, level)
    )
  }

  // Puts one larger leaf in the place of `frame`, a table of `level` that maps what it would, in one store; and so on upwards. What the
  // unit still caches of that table stays true until it is freed.
  #merge(table: number, frame: number, level: number, hi: number, lo: number): void {
    const tree = this.tree
    const { entries } = tree
    const { pages2M, pages1G } = entries.format
    if (level >= tree.levels(table) || !(level === 1 ? pages2M : level === 2 && pages1G)) return
    if (!entries.areOnePage(frame, level)) return
    const parent = tree.tableFor(table, hi, lo, level + 1)
    entries.setLeaf(
      parent,
      tableIndex(level + 1, hi, lo),
      level + 1,
      entries.target(frame, 0),
      entries.access(frame, 0),
    )
    tree.retire(table, frame, level)
    this.#merge(table, parent, level + 1, hi, lo)
  }
}
