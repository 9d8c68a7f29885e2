/**
 * A domain whose tables are this kernel's own: addresses come from an allocator here, entries go through a small port to whatever
 * unit there is.
 */
import { Errno, PAGE_SHIFT } from '@iospace/abi'
import { UnsupportedError } from '@iospace/wire'
import type { IommuDomain } from './iommu-domain.ts'
import type { PlatformMemory } from '../platform.ts'
import { IovaAllocator } from './iova-allocator.ts'
import type { ScatterList } from './scatterlist.ts'

/** The tables of one device. Pages are I/O page numbers; results are 0 or −errno. */
export interface IommuTable {
  readonly name: string
  readonly firstPage: number
  readonly lastPage: number
  map(page: number, gfn: number, pages: number, access: number): number
  /** Clears entries; the device may still use cached ones until {@link invalidate} returns. */
  unmap(page: number, pages: number): number
  invalidate(): number
  /** The device's driver is gone: nothing reaches memory through here any more. */
  release(): void
}

const CAPACITY = 512
const PAGE_MASK = 0xfff

export class TableDomain implements IommuDomain {
  readonly name: string
  readonly takesGrants = false
  readonly capacity = CAPACITY
  readonly minAddressBits: number
  error = 0
  readonly #table: IommuTable
  readonly #iovas: IovaAllocator
  readonly #gfn = new Int32Array(CAPACITY)
  readonly #pages = new Int32Array(CAPACITY)
  readonly #follows = new Uint8Array(CAPACITY)
  readonly #io = new Float64Array(CAPACITY)
  #count = 0
  #access = 0
  #limit = 0

  constructor(table: IommuTable) {
    this.name = table.name
    this.minAddressBits = Math.ceil(Math.log2(table.firstPage + 1)) + PAGE_SHIFT
    this.#table = table
    this.#iovas = new IovaAllocator(table.firstPage, table.lastPage)
  }

  mapBegin(access: number, _align: number, _boundary: number, addressBits: number): void {
    this.#count = 0
    this.#access = access
    // Alignment and boundary hold by themselves: the allocator aligns to the power of two that holds the size.
    this.#limit = 2 ** (addressBits - PAGE_SHIFT) - 1
  }

  mapRun(gfn: number, pages: number, follows: boolean): void {
    const at = this.#count++
    this.#gfn[at] = gfn
    this.#pages[at] = pages
    this.#follows[at] = follows ? 1 : 0
  }

  mapCommit(): number {
    for (let run = 0; run < this.#count;) {
      let end = run + 1
      let pages = this.#pages[run]!
      while (end < this.#count && this.#follows[end] === 1) pages += this.#pages[end++]!
      const first = this.#iovas.allocate(pages, this.#limit)
      if (first < 0) return this.#fail(run, -Errno.ENOSPC)
      let page = first
      for (let i = run; i < end; i++) {
        const result = this.#table.map(page, this.#gfn[i]!, this.#pages[i]!, this.#access)
        if (result < 0) {
          // A chain is one mapping: all of it or nothing.
          if (page > first) this.#table.unmap(first, page - first)
          this.#table.invalidate()
          this.#iovas.free(first, pages)
          return this.#fail(run, result)
        }
        this.#io[i] = page
        page += this.#pages[i]!
      }
      run = end
    }
    return this.#count
  }

  ioHigh(index: number): number {
    return Math.floor(this.#io[index]! / 0x10_0000)
  }

  ioLow(index: number): number {
    return (this.#io[index]! % 0x10_0000) << PAGE_SHIFT
  }

  unmapBegin(): void {
    this.#count = 0
  }

  unmapRange(high: number, low: number, pages: number): void {
    const at = this.#count++
    this.#io[at] = (high >>> 0) * 0x10_0000 + (low >>> PAGE_SHIFT)
    this.#pages[at] = pages
  }

  unmapCommit(): number {
    for (let i = 0; i < this.#count; i++) {
      const result = this.#table.unmap(this.#io[i]!, this.#pages[i]!)
      if (result < 0) return result
    }
    const result = this.#table.invalidate()
    // An address is free only when no cache knows it any more.
    if (result === 0) for (let i = 0; i < this.#count; i++) this.#iovas.free(this.#io[i]!, this.#pages[i]!)
    return result
  }

  mapPages(_list: ScatterList, _memory: PlatformMemory, from: number): number {
    return from
  }

  unmapSegments(list: ScatterList, from: number, end: number): number {
    this.unmapBegin()
    for (let i = from; i < end; i++) {
      const low = list.dmaLow[i]!
      this.unmapRange(list.dmaHigh[i]!, low, ((low & PAGE_MASK) + list.dmaLengths[i]! + PAGE_MASK) >> PAGE_SHIFT)
    }
    return this.unmapCommit()
  }

  release(): void {
    this.#table.release()
  }

  mapGrants(): number {
    throw new UnsupportedError(this.name, 'knows no grants')
  }
  unmapGrants(): number {
    throw new UnsupportedError(this.name, 'knows no grants')
  }

  #fail(done: number, error: number): number {
    this.error = error
    return done
  }
}
