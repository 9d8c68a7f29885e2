/**
 * Spare slots: page frame numbers above a domain's memory, with nothing in them, where granted and foreign pages, grant frames and
 * shared_info are put (Linux: xen_alloc_unpopulated_pages).
 */
import { StateError } from '@iospace/wire'

export class SlotAllocator {
  readonly first: number
  readonly end: number
  readonly #used: Uint8Array
  #hint = 0
  #freeSlots: number

  /** Slots are pfns `first`…`end`−1. */
  constructor(first: number, end: number) {
    this.first = first
    this.end = Math.max(first, end)
    this.#used = new Uint8Array(this.end - first)
    this.#freeSlots = this.#used.length
  }

  get freeSlots(): number {
    return this.#freeSlots
  }

  /** Takes a slot out for good: something is already there. */
  reserve(pfn: number): void {
    if (this.#used[pfn - this.first] !== 0) return
    this.#used[pfn - this.first] = 1
    this.#freeSlots--
  }

  /** The first of `count` consecutive slots; −1 when there is no such run. */
  allocate(count = 1): number {
    const from = this.#find(count, this.#hint, this.#used.length)
    const at = from >= 0 ? from : this.#find(count, 0, Math.min(this.#used.length, this.#hint + count - 1))
    if (at < 0) return -1
    this.#used.fill(1, at, at + count)
    this.#hint = at + count
    this.#freeSlots -= count
    return this.first + at
  }

  /** Takes `count` slots back; they must be empty again. StateError for a slot that is not allocated. */
  free(pfn: number, count = 1): void {
    const at = pfn - this.first
    for (let i = at; i < at + count; i++) {
      if (this.#used[i] !== 1) throw new StateError(`slot 0x${(this.first + i).toString(16)}`, 'is not allocated')
      this.#used[i] = 0
    }
    this.#freeSlots += count
  }

  #find(count: number, from: number, end: number): number {
    let run = 0
    for (let i = from; i < end; i++) {
      run = this.#used[i] === 0 ? run + 1 : 0
      if (run === count) return i - count + 1
    }
    return -1
  }
}
