/**
 * Picks I/O addresses for `ANY`: first from magazines of recently freed ranges by exact size, then next-fit in an arena that doubles when it
 * is used up. What is free is known by the space's page tree alone; magazines are hints, checked when taken.
 */
import type { PageTree } from './page-tree.ts'

/** Sizes that have a magazine, and the ranges that one holds. */
const SIZES = 32
const DEPTH = 64
/** Single pages are most of it. */
const PAGE_DEPTH = 1024
const FIRST_ARENA = 1024

export class AddressAllocator {
  declare private readonly tree: PageTree
  declare private readonly first: number
  declare private readonly end: number
  /** Single pages, and behind them the other sizes. */
  readonly #magazines = new Int32Array(PAGE_DEPTH + SIZES * DEPTH)
  readonly #held = new Int32Array(SIZES)
  #arenaEnd: number
  #cursor: number

  /** Pages [`first`, `end`) of the space; page 0 is never given out. */
  constructor(tree: PageTree, first: number, end: number) {
    this.tree = tree
    this.first = Math.max(1, first)
    this.end = end
    this.#cursor = this.first
    this.#arenaEnd = Math.min(end, this.first + FIRST_ARENA)
  }

  /**
   * First page of a free range of `pages`, below page `limit` (exclusive), at a multiple of 2^`alignBits` pages, not crossing a multiple of
   * 2^`boundaryBits` pages (−1: none). −1 when there is none. The caller marks it as taken in the tree.
   */
  find(pages: number, limit: number, alignBits: number, boundaryBits: number): number {
    if (pages <= SIZES) {
      const base = pages === 1 ? 0 : PAGE_DEPTH + (pages - 1) * DEPTH
      while (this.#held[pages - 1]! > 0) {
        const page = this.#magazines[base + --this.#held[pages - 1]!]!
        if (page + pages > limit || !fits(page, pages, alignBits, boundaryBits)) break
        if (this.tree.lastTaken(page, pages) < 0) return page
      }
    }
    return this.#fresh(pages, Math.min(limit, this.end), alignBits, boundaryBits)
  }

  /** {@link find} for one page without further wishes, and marks it with `value` at once. */
  claimOne(limit: number, value: number): number {
    const held = this.#held
    while (held[0]! > 0) {
      const page = this.#magazines[--held[0]!]!
      if (page >= limit) break
      if (this.tree.claim(page, value)) return page
    }
    const page = this.#fresh(1, limit < this.end ? limit : this.end, 0, -1)
    if (page >= 0) this.tree.set(page, value)
    return page
  }

  /** Notes that a range is free again. */
  freed(page: number, pages: number): void {
    if (pages > SIZES || this.#held[pages - 1]! === (pages === 1 ? PAGE_DEPTH : DEPTH)) return
    this.#magazines[(pages === 1 ? 0 : PAGE_DEPTH + (pages - 1) * DEPTH) + this.#held[pages - 1]!++] = page
  }

  #fresh(pages: number, end: number, alignBits: number, boundaryBits: number): number {
    let stop = Math.min(this.#arenaEnd, end)
    let page = this.#search(this.#cursor, stop, pages, alignBits, boundaryBits)
    if (page < 0) page = this.#search(this.first, Math.min(stop, this.#cursor + pages), pages, alignBits, boundaryBits)
    while (page < 0 && this.#arenaEnd < end) {
      const from = Math.max(this.first, this.#arenaEnd - pages)
      this.#arenaEnd = Math.min(this.end, this.first + 2 * (this.#arenaEnd - this.first))
      stop = Math.min(this.#arenaEnd, end)
      page = this.#search(from, stop, pages, alignBits, boundaryBits)
    }
    if (page >= 0) this.#cursor = page + pages
    return page
  }

  #search(from: number, end: number, pages: number, alignBits: number, boundaryBits: number): number {
    let page = from
    for (;;) {
      if (alignBits > 0) page = alignUp(page, alignBits)
      if (page + pages > end) return -1
      if (!fits(page, pages, 0, boundaryBits)) {
        const next = alignUp(page + 1, boundaryBits)
        if (!fits(next, pages, 0, boundaryBits)) return -1
        page = next
        continue
      }
      const taken = this.tree.lastTaken(page, pages)
      if (taken < 0) return page
      page = this.tree.nextFree(taken + 1, end)
    }
  }
}

function alignUp(page: number, bits: number): number {
  const unit = 2 ** bits
  return Math.ceil(page / unit) * unit
}

function fits(page: number, pages: number, alignBits: number, boundaryBits: number): boolean {
  if (alignBits > 0 && page % 2 ** alignBits !== 0) return false
  return boundaryBits < 0 || Math.floor(page / 2 ** boundaryBits) === Math.floor((page + pages - 1) / 2 ** boundaryBits)
}
