/**
 * The page allocator: blocks of 2^order pages, split and merged in pairs (the buddy system, Linux mm/page_alloc.c). Pages are page
 * frame numbers; what lies under them in the machine is scattered, so only the numbers of a block are contiguous.
 */
import { StateError, ValueError } from '@iospace/wire'

/** The largest block is 2^12 pages, 16 MiB. */
export const MAX_ORDER = 12

const NONE = -1

/** The order of the smallest block that holds `pages` pages. */
export function orderOf(pages: number): number {
  return pages <= 1 ? 0 : 32 - Math.clz32(pages - 1)
}

export class PageAllocator {
  /** Pages are 0…`pages`−1. */
  readonly pages: number
  readonly #next: Int32Array
  readonly #previous: Int32Array
  /** Order of the free block that begins here; −1 elsewhere. */
  readonly #freeOrder: Int8Array
  /** Order of the allocated block that begins here; −1 elsewhere. */
  readonly #usedOrder: Int8Array
  readonly #heads = new Int32Array(MAX_ORDER + 1).fill(NONE)
  /** 1: another domain still reaches the page. */
  readonly #withheld: Uint8Array
  #freePages = 0

  /** Every page is reserved until {@link release} hands it over. */
  constructor(pages: number) {
    this.pages = pages
    this.#next = new Int32Array(pages)
    this.#previous = new Int32Array(pages)
    this.#freeOrder = new Int8Array(pages).fill(NONE)
    this.#usedOrder = new Int8Array(pages).fill(NONE)
    this.#withheld = new Uint8Array(pages)
  }

  get freePages(): number {
    return this.#freePages
  }

  /** Hands pages `first`…`end`−1, reserved so far, to the allocator. */
  release(first: number, end: number): void {
    for (let pfn = first; pfn < end; pfn++) this.#merge(pfn, 0)
  }

  /** The first page of 2^`order` contiguous page numbers, aligned to their count; −1 when no such block is free. */
  allocate(order: number): number {
    if (order < 0 || order > MAX_ORDER)
      throw new ValueError('order', undefined, undefined, order, `is not from 0 to ${MAX_ORDER}`)
    let from = order
    while (from <= MAX_ORDER && this.#heads[from] === NONE) from++
    if (from > MAX_ORDER) return -1
    const pfn = this.#heads[from]!
    this.#unlink(pfn, from)
    while (from > order) {
      from--
      this.#link(pfn + (1 << from), from)
    }
    this.#usedOrder[pfn] = order
    return pfn
  }

  /** Takes a block back. StateError for a page that does not begin an allocated block. */
  free(pfn: number): void {
    const order = pfn >= 0 && pfn < this.pages ? this.#usedOrder[pfn]! : NONE
    if (order === NONE) throw new StateError(`page 0x${pfn.toString(16)}`, 'does not begin an allocated block')
    this.#usedOrder[pfn] = NONE
    if (this.#withheld.subarray(pfn, pfn + (1 << order)).includes(1)) return
    this.#merge(pfn, order)
  }

  /**
   * Keeps the allocated page `pfn` out of circulation for good: its owner may go on with it and free it, and nobody gets its block
   * again. For a page that another domain does not let go of.
   */
  withhold(pfn: number): void {
    this.#withheld[pfn] = 1
  }

  #merge(pfn: number, order: number): void {
    let block = pfn
    let size = order
    while (size < MAX_ORDER) {
      const buddy = block ^ (1 << size)
      if (buddy >= this.pages || this.#freeOrder[buddy] !== size) break
      this.#unlink(buddy, size)
      block = Math.min(block, buddy)
      size++
    }
    this.#link(block, size)
  }

  #link(pfn: number, order: number): void {
    const head = this.#heads[order]!
    this.#next[pfn] = head
    this.#previous[pfn] = NONE
    if (head !== NONE) this.#previous[head] = pfn
    this.#heads[order] = pfn
    this.#freeOrder[pfn] = order
    this.#freePages += 1 << order
  }

  #unlink(pfn: number, order: number): void {
    const next = this.#next[pfn]!
    const previous = this.#previous[pfn]!
    if (next !== NONE) this.#previous[next] = previous
    if (previous === NONE) this.#heads[order] = next
    else this.#next[previous] = next
    this.#freeOrder[pfn] = NONE
    this.#freePages -= 1 << order
  }
}
