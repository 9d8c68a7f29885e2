/**
 * The bounce buffer pool of swiotlb (Linux kernel/dma/swiotlb.c): 2 KiB slots in sets of 128, one area, one rotating index. A
 * mapping is a run of slots inside one set.
 *
 * Linux has each set's memory contiguous in the machine (Xen exchanges it). Here the frames of a domain are scattered and stay so:
 * a run may cross a page edge only where the next frame happens to be the next page's, which {@link largestRun} tells.
 */
import { PAGE_SIZE } from '@iospace/machine'
import { StateError } from '@iospace/wire'
import { orderOf } from '../memory/page-allocator.ts'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import { IO_TLB_MIN_SIZE, IO_TLB_SEGSIZE, IO_TLB_SHIFT, IO_TLB_SIZE } from './swiotlb-constants.ts'

const SLOTS_PER_PAGE = PAGE_SIZE / IO_TLB_SIZE
const PAGES_PER_SET = IO_TLB_SEGSIZE / SLOTS_PER_PAGE
const SLOT_MASK = IO_TLB_SIZE - 1
const FRAMES_BELOW_4G = 0x10_0000

/** Puts other frames into the pages from `pfn` on. */
export type Gather = (pfn: number, order: number) => boolean

export class BouncePool {
  readonly slots: number
  /** First page of each set. */
  readonly #sets: Int32Array
  /** Slots of the mapping that begins here; 0 elsewhere. */
  readonly #runs: Uint8Array
  readonly #used: Uint8Array
  /** Where the bytes of a mapping came from, by its first slot: page number and offset, and bytes. */
  readonly originalPage: Int32Array
  readonly originalOffset: Int32Array
  readonly originalLength: Int32Array
  /** First bytes of a mapping inside its first slot. */
  readonly #offsets: Int32Array
  /** Machine frame of each page; and the pages in ascending order of their frames, to find one by its frame. */
  readonly #frames: Int32Array
  readonly #byFrame: Int32Array
  /** Pages that may be joined from each page on, itself included, inside its set. */
  readonly #joined: Uint8Array
  #index = 0
  #usedSlots = 0
  #highWater = 0

  /**
   * A pool of up to `slots` slots; halved while memory is short (Linux does so too), down to 1 MiB. Null when not even that is there.
   * `gather` makes 2^order pages contiguous below 4 GiB, or says that it cannot; then the pool has the pieces that there are.
   */
  static create(memory: KernelMemory, slots: number, gather: Gather = () => false): BouncePool | null {
    for (let wanted = slots; wanted * IO_TLB_SIZE >= IO_TLB_MIN_SIZE || wanted === slots; wanted >>= 1) {
      const sets = allocateSets(memory, Math.max(1, wanted / IO_TLB_SEGSIZE), gather)
      if (sets !== null) return new BouncePool(memory, sets)
    }
    return null
  }

  private constructor(memory: KernelMemory, sets: number[]) {
    const pages = sets.length * PAGES_PER_SET
    this.slots = sets.length * IO_TLB_SEGSIZE
    this.#sets = Int32Array.from(sets)
    this.#runs = new Uint8Array(this.slots)
    this.#used = new Uint8Array(this.slots)
    this.originalPage = new Int32Array(this.slots)
    this.originalOffset = new Int32Array(this.slots)
    this.originalLength = new Int32Array(this.slots)
    this.#offsets = new Int32Array(this.slots)
    this.#frames = new Int32Array(pages)
    this.#joined = new Uint8Array(pages).fill(1)
    for (let page = 0; page < pages; page++) this.#frames[page] = memory.platform.machineFrame(this.#pfn(page))
    this.#byFrame = Int32Array.from({ length: pages }, (_, page) => page).sort(
      (a, b) => this.#frames[a]! - this.#frames[b]!,
    )
    for (let page = pages - 2; page >= 0; page--) {
      const sameSet = (page + 1) % PAGES_PER_SET !== 0
      if (sameSet && this.#frames[page + 1] === this.#frames[page]! + 1)
        this.#joined[page] = this.#joined[page + 1]! + 1
    }
  }

  get usedSlots(): number {
    return this.#usedSlots
  }

  /** Most slots that were ever in use at once. */
  get highWater(): number {
    return this.#highWater
  }

  /** Bytes of the longest run of the pool that is contiguous in the machine. */
  largestRun(): number {
    let pages = 1
    for (const run of this.#joined) if (run > pages) pages = run
    return pages * PAGE_SIZE
  }

  /**
   * Finds room for `length` bytes whose bus address ends in the bits of `original` under `alignMask` and lies below `limit`. The
   * first slot, or −1 when there is none.
   */
  allocate(length: number, original: number, alignMask: number, limit: number): number {
    const offset = original & alignMask & SLOT_MASK
    const count = (offset + length + SLOT_MASK) >> IO_TLB_SHIFT
    if (count > IO_TLB_SEGSIZE) return -1
    // Which slot of a page: as the original's address bits demand, and the first one for mappings of a page or more.
    const parityMask = length >= PAGE_SIZE || (alignMask & IO_TLB_SIZE) !== 0 ? SLOTS_PER_PAGE - 1 : 0
    const parity = (alignMask & original & IO_TLB_SIZE) >> IO_TLB_SHIFT
    const { slots } = this
    let slot = this.#index
    for (let tried = 0; tried < slots; tried++, slot = slot + 1 === slots ? 0 : slot + 1) {
      if ((slot & parityMask) !== parity || !this.#fits(slot, count, limit)) continue
      this.#used.fill(1, slot, slot + count)
      this.#runs[slot] = count
      this.#offsets[slot] = offset
      this.#index = slot + count === slots ? 0 : slot + count
      this.#usedSlots += count
      if (this.#usedSlots > this.#highWater) this.#highWater = this.#usedSlots
      return slot
    }
    return -1
  }

  /** Ends the mapping that begins at `slot`. */
  free(slot: number): void {
    const count = this.#runs[slot]!
    if (count === 0) throw new StateError(`bounce slot ${slot}`, 'does not begin a mapping')
    this.#used.fill(0, slot, slot + count)
    this.#runs[slot] = 0
    this.#usedSlots -= count
  }

  /** Machine frame of the mapping's first byte, and its offset in that page. */
  frame(slot: number): number {
    return this.#frames[slot >> 1]!
  }
  offset(slot: number): number {
    return (slot & 1) * IO_TLB_SIZE + this.#offsets[slot]!
  }
  /** Page number of the mapping's first byte. */
  page(slot: number): number {
    return this.#pfn(slot >> 1)
  }

  /** The first slot of the mapping that a bus address belongs to; −1 when it is no address of a live mapping. */
  find(address: number): number {
    const page = this.#pageAt(Math.floor(address / PAGE_SIZE))
    if (page < 0) return -1
    const at = page * SLOTS_PER_PAGE + ((address & (PAGE_SIZE - 1)) >> IO_TLB_SHIFT)
    for (let slot = at; slot >= 0 && slot > at - IO_TLB_SEGSIZE; slot--)
      if (this.#runs[slot] !== 0) return slot + this.#runs[slot]! > at ? slot : -1
    return -1
  }

  #fits(slot: number, count: number, limit: number): boolean {
    if ((slot & (IO_TLB_SEGSIZE - 1)) + count > IO_TLB_SEGSIZE) return false
    const pages = ((slot & 1) + count + 1) >> 1
    if (pages > this.#joined[slot >> 1]!) return false
    if ((this.#frames[slot >> 1]! + pages) * PAGE_SIZE > limit) return false
    for (let i = slot; i < slot + count; i++) if (this.#used[i] !== 0) return false
    return true
  }

  #pageAt(frame: number): number {
    let low = 0
    let high = this.#byFrame.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const page = this.#byFrame[middle]!
      if (this.#frames[page] === frame) return page
      if (this.#frames[page]! < frame) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  #pfn(page: number): number {
    return this.#sets[Math.floor(page / PAGES_PER_SET)]! + (page % PAGES_PER_SET)
  }
}

// Every device reaches what lies below 4 GiB, so sets from there are taken first; blocks passed over go back at the end. As swiotlb-xen does,
// each set is exchanged for memory in one piece, while there is some: else mappings of several pages find no room in it.
function allocateSets(memory: KernelMemory, count: number, gather: Gather): number[] | null {
  const low: number[] = []
  const high: number[] = []
  let gathers = true
  while (low.length < count) {
    const pfn = memory.pages.allocate(orderOf(PAGES_PER_SET))
    if (pfn < 0) break
    gathers &&= gather(pfn, orderOf(PAGES_PER_SET))
    if (isLow(memory, pfn)) low.push(pfn)
    else high.push(pfn)
  }
  while (low.length < count && high.length > 0) low.push(high.pop()!)
  for (const pfn of high) memory.pages.free(pfn)
  if (low.length < count) {
    for (const pfn of low) memory.pages.free(pfn)
    return null
  }
  for (const set of low) {
    for (let pfn = set; pfn < set + PAGES_PER_SET; pfn++)
      memory.platform.fill(memory.platform.frameOffset(pfn), 0, PAGE_SIZE)
  }
  return low
}

function isLow(memory: KernelMemory, first: number): boolean {
  for (let pfn = first; pfn < first + PAGES_PER_SET; pfn++)
    if (memory.platform.machineFrame(pfn) >= FRAMES_BELOW_4G) return false
  return true
}
