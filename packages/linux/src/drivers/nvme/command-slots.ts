/**
 * Commands under way on one I/O queue: ids, and for each id a PRP list in coherent memory. A list is 512 bytes, 64 entries, so no
 * list crosses a page and none ever chains (NVMe 1.4 section 4.3).
 */
import type { CoherentBuffer } from '../../dma/backend.ts'
import type { DmaApi } from '../../dma/dma-api.ts'
import { PAGE_SIZE } from '@iospace/machine'

/** Entries of a PRP list; with PRP1 a command reaches one page more. */
export const PRP_LIST_ENTRIES = 64
const LIST_BYTES = PRP_LIST_ENTRIES * 8
const LISTS_PER_PAGE = PAGE_SIZE / LIST_BYTES

export class CommandSlots {
  readonly count: number
  /** Word index of each id's list, and its bus address in halves. */
  readonly listWord: Int32Array
  readonly listHigh: Int32Array
  readonly listLow: Int32Array
  readonly #dma: DmaApi
  readonly #pages: CoherentBuffer[]
  readonly #free: Int32Array
  #freeCount: number

  /** Slots for `count` commands; null when no coherent memory is left. */
  static create(dma: DmaApi, count: number): CommandSlots | null {
    const pages: CoherentBuffer[] = []
    while (pages.length * LISTS_PER_PAGE < count) {
      const page = dma.allocateCoherent(PAGE_SIZE)
      if (page === null) {
        for (const taken of pages) dma.freeCoherent(taken)
        return null
      }
      pages.push(page)
    }
    return new CommandSlots(dma, pages, count)
  }

  private constructor(dma: DmaApi, pages: CoherentBuffer[], count: number) {
    this.count = count
    this.#dma = dma
    this.#pages = pages
    this.listWord = new Int32Array(count)
    this.listHigh = new Int32Array(count)
    this.listLow = new Int32Array(count)
    this.#free = Int32Array.from({ length: count }, (_, id) => id)
    this.#freeCount = count
    for (let id = 0; id < count; id++) {
      const { buffer, address } = pages[Math.floor(id / LISTS_PER_PAGE)]!
      const at = (id % LISTS_PER_PAGE) * LIST_BYTES
      this.listWord[id] = buffer.at(at) >>> 2
      this.listHigh[id] = Math.floor((address + at) / 0x1_0000_0000)
      this.listLow[id] = (address + at) % 0x1_0000_0000
    }
  }

  get freeCount(): number {
    return this.#freeCount
  }

  /** An id; only while {@link freeCount} is above 0. */
  take(): number {
    return this.#free[--this.#freeCount]!
  }

  give(id: number): void {
    this.#free[this.#freeCount++] = id
  }

  free(): void {
    for (const page of this.#pages) this.#dma.freeCoherent(page)
  }
}
