/**
 * A domain's grant table: the frames that it shares with the hypervisor, and the hypervisor's own record of the entries in use. While an
 * entry is pinned its frame is taken from here and not from the shared entry. Source: xen/common/grant_table.c (active_grant_entry).
 */
import { GRANT_ENTRIES_PER_FRAME } from '@iospace/abi'
import type { Heap } from '../heap.ts'

export class GrantTable {
  readonly #heap: Heap
  readonly maxFrames: number
  /** Frame indices of the grant frames. */
  readonly frames: number[] = []
  /** Four 8-bit counters by reference: host write, host read, device write, device read. */
  pin = new Uint32Array(0)
  /** Frame index of a pinned entry. */
  frame = new Int32Array(0)
  /** Domain that has a pinned entry mapped. */
  mapper = new Uint16Array(0)

  constructor(heap: Heap, maxFrames: number) {
    this.#heap = heap
    this.maxFrames = maxFrames
  }

  /** References that exist now. */
  get entries(): number {
    return this.frames.length * GRANT_ENTRIES_PER_FRAME
  }

  /** Makes the table at least `frames` long; false when that is too long or no memory is left. */
  grow(frames: number): boolean {
    if (frames > this.maxFrames) return false
    while (this.frames.length < frames) {
      const index = this.#heap.allocate('grant frame')
      if (index < 0) return false
      this.frames.push(index)
    }
    if (this.pin.length < this.entries) {
      // Twice as long each time: a guest that takes its frames one by one would else make us copy all of it for each.
      const entries = Math.min(this.maxFrames * GRANT_ENTRIES_PER_FRAME, Math.max(this.entries, 2 * this.pin.length))
      const { pin, frame, mapper } = this
      this.pin = new Uint32Array(entries)
      this.pin.set(pin)
      this.frame = new Int32Array(entries)
      this.frame.set(frame)
      this.mapper = new Uint16Array(entries)
      this.mapper.set(mapper)
    }
    return true
  }

  /** Frame index of grant frame `number`, growing the table to it; −1 where it cannot. */
  frameFor(number: number): number {
    if (!(number >= 0 && number < this.maxFrames) || !this.grow(number + 1)) return -1
    return this.frames[number]!
  }

  /** Gives the grant frames back; nothing may be pinned. */
  destroy(): void {
    for (const index of this.frames) this.#heap.free(index)
    this.frames.length = 0
    this.pin = new Uint32Array(0)
  }
}
