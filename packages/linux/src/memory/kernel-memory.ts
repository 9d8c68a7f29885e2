/** The kernel's memory: its pages and spare slots, and buffers made of them. */
import { PAGE_SIZE } from '@iospace/machine'
import { StateError } from '@iospace/wire'
import type { PlatformMemory } from '../platform.ts'
import { KernelBuffer } from './kernel-buffer.ts'
import { MAX_ORDER, orderOf, PageAllocator } from './page-allocator.ts'
import { SlotAllocator } from './slot-allocator.ts'

export class KernelMemory {
  readonly platform: PlatformMemory
  readonly pages: PageAllocator
  readonly slots: SlotAllocator

  /** `nrPages` pages of memory; page numbers from there to the platform's end are spare slots. `reserved` pages are never given out. */
  constructor(platform: PlatformMemory, nrPages: number, reserved: readonly number[]) {
    this.platform = platform
    this.pages = new PageAllocator(nrPages)
    this.slots = new SlotAllocator(nrPages, platform.pages)
    const taken = new Set(reserved)
    for (let pfn = 0; pfn < nrPages; pfn++) {
      if (!taken.has(pfn) && platform.frameOffset(pfn) >= 0) this.pages.release(pfn, pfn + 1)
    }
    for (let pfn = nrPages; pfn < platform.pages; pfn++) if (platform.frameOffset(pfn) >= 0) this.slots.reserve(pfn)
  }

  /**
   * `bytes` zeroed bytes from a page's start on; the block is a power of two of pages. Null when no such block is free, or for more
   * than 16 MiB. May be called anywhere.
   */
  allocate(bytes: number): KernelBuffer | null {
    const order = orderOf(Math.ceil(bytes / PAGE_SIZE))
    const pfn = order > MAX_ORDER ? -1 : this.pages.allocate(order)
    if (pfn < 0) return null
    for (let page = pfn; page < pfn + (1 << order); page++)
      this.platform.fill(this.platform.frameOffset(page), 0, PAGE_SIZE)
    return new KernelBuffer(this.platform, pfn, 0, bytes)
  }

  /** Gives a buffer of {@link allocate} back. StateError for a slice, or when it was freed before. */
  free(buffer: KernelBuffer): void {
    if (buffer.offset !== 0) throw new StateError('kernel buffer', 'is a slice; free the buffer that it was cut from')
    this.pages.free(buffer.pfn)
  }

  /** A view of pages that were not allocated here: slots with granted or foreign pages, pages that the domain builder filled. */
  window(pfn: number, bytes: number = PAGE_SIZE): KernelBuffer {
    return new KernelBuffer(this.platform, pfn, 0, bytes)
  }
}
