/**
 * A scatterlist: pieces of memory that make one transfer, and, once mapped, the segments that the device sees. Columns of numbers,
 * made once and refilled, so that a request costs no garbage.
 *
 * A list holds either pages of this kernel's or pages that one other domain granted; the latter have a grant reference where the
 * former have a page number, and no address that the CPU could use.
 */
import { PAGE_SHIFT, PAGE_SIZE } from '@iospace/machine'
import { BoundsError } from '@iospace/wire'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'

/** `granter` of a list of this kernel's own pages. */
export const OWN_PAGES = -1

export class ScatterList {
  declare readonly capacity: number
  /** Domain that granted the pages, or {@link OWN_PAGES}. */
  granter: number = OWN_PAGES
  /** Entries in use (Linux: orig_nents). */
  count = 0
  /** Bytes of all entries. */
  bytes = 0
  /** First page number of each entry, or its grant reference. */
  declare readonly pages: Int32Array
  /** Bytes into that page, and bytes in all; an entry of own pages may run on into the pages that follow. */
  declare readonly offsets: Int32Array
  declare readonly lengths: Int32Array

  /** Segments for the device, 0 while unmapped (Linux: nents). At most `count`. */
  segments = 0
  /** Bus address of each segment in halves, and its bytes. */
  declare readonly dmaHigh: Int32Array
  declare readonly dmaLow: Int32Array
  declare readonly dmaLengths: Int32Array
  /** The backend's own: bounce slots or grant handles, by entry. */
  declare readonly handles: Int32Array
  /** How dma-debug and the backend know what was mapped: 0 not, 1 as one list, 2 each entry for itself. */
  mapped = 0
  direction = 0

  constructor(capacity: number) {
    this.capacity = capacity
    this.pages = new Int32Array(capacity)
    this.offsets = new Int32Array(capacity)
    this.lengths = new Int32Array(capacity)
    this.dmaHigh = new Int32Array(capacity)
    this.dmaLow = new Int32Array(capacity)
    this.dmaLengths = new Int32Array(capacity)
    this.handles = new Int32Array(capacity)
  }

  /** Empties the list for own pages, or for pages granted by `granter`. */
  reset(granter: number = OWN_PAGES): void {
    this.granter = granter
    this.count = 0
    this.bytes = 0
    this.segments = 0
  }

  /** Appends `length` bytes from `offset` in `page` (a page number or grant reference). BoundsError when the list is full. */
  add(page: number, offset: number, length: number): void {
    const at = this.count
    if (at >= this.capacity) throw new BoundsError('scatterlist', at, 1, this.capacity)
    this.pages[at] = page
    this.offsets[at] = offset
    this.lengths[at] = length
    this.count = at + 1
    this.bytes += length
  }

  /** Appends a part of a buffer, one entry per page. */
  addBuffer(buffer: KernelBuffer, at = 0, length: number = buffer.length - at): void {
    for (let done = 0; done < length;) {
      const position = buffer.offset + at + done
      const inPage = position & (PAGE_SIZE - 1)
      const piece = Math.min(length - done, PAGE_SIZE - inPage)
      this.add(buffer.pfn + (position >> PAGE_SHIFT), inPage, piece)
      done += piece
    }
  }

  /** Bus address of a segment as a number (it is below 2^53). */
  address(segment: number): number {
    return (this.dmaHigh[segment]! >>> 0) * 0x1_0000_0000 + (this.dmaLow[segment]! >>> 0)
  }
}
