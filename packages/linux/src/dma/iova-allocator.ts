/**
 * I/O pages of one device's space, for IOMMUs whose owner is this kernel (Linux drivers/iommu/iova.c): top down, aligned to the
 * next power of two of their count, never page 0. A bitmap with a hint; only what an allocation frees can make its search restart.
 */
import { StateError } from '@iospace/wire'

export class IovaAllocator {
  readonly #first: number
  readonly #used: Uint8Array
  #hint: number

  /** Pages `first`…`last`; page 0 is left out. */
  constructor(first: number, last: number) {
    this.#first = Math.max(1, first)
    this.#used = new Uint8Array(last - this.#first + 1)
    this.#hint = this.#used.length
  }

  /** The first of `pages` free pages, all at or below `limit`; −1 when there are none. */
  allocate(pages: number, limit: number): number {
    const top = Math.min(this.#used.length, limit - this.#first + 1)
    const found = this.#search(pages, Math.min(this.#hint, top))
    const at = found >= 0 ? found : this.#search(pages, top)
    if (at < 0) return -1
    this.#used.fill(1, at, at + pages)
    this.#hint = at
    return this.#first + at
  }

  /** Takes pages back. StateError when they were not allocated. */
  free(page: number, pages: number): void {
    const at = page - this.#first
    for (let i = at; i < at + pages; i++)
      if (this.#used[i] !== 1) throw new StateError(`I/O page 0x${(this.#first + i).toString(16)}`, 'is not allocated')
    this.#used.fill(0, at, at + pages)
    // Moving the hint up past what was freed would hand it out at once: leave it where it is until the search comes round.
  }

  // The highest aligned run that ends at or below `end`.
  #search(pages: number, end: number): number {
    const align = 2 ** Math.ceil(Math.log2(pages))
    let at = Math.floor((this.#first + end - pages) / align) * align - this.#first
    while (at >= 0) {
      let taken = -1
      for (let i = at; i < at + pages; i++) {
        if (this.#used[i] !== 0) {
          taken = i
          break
        }
      }
      if (taken < 0) return at
      at -= align
    }
    return -1
  }
}
