/**
 * The DMA API over an IOMMU (Linux drivers/iommu/dma-iommu.c): one layer for every kind of domain. It lays scatterlists out in I/O
 * space, merges what is contiguous there, and undoes what failed; the domain puts mappings where the device finds them.
 *
 * A list of own pages becomes one contiguous range of I/O pages: what is scattered in the machine is contiguous for the device.
 * Strict unless the domain defers (`iommu.strict=0`): when an unmap returns, the device reaches nothing of it any more.
 */
import { ACCESS, Errno, PAGE_SHIFT, PAGE_SIZE } from '@iospace/abi'
import { InvariantError } from '@iospace/wire'
import { orderOf } from '../memory/page-allocator.ts'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import type { PlatformMemory } from '../platform.ts'
import type { CoherentBuffer, DmaBackend, DmaParameters } from './backend.ts'
import { Direction, DMA_MAPPING_ERROR, readsMemory, writesMemory } from './direction.ts'
import type { IommuDomain } from './iommu-domain.ts'
import { OWN_PAGES, type ScatterList } from './scatterlist.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { READ, WRITE } = ACCESS
const PAGE = PAGE_SIZE
const SHIFT = PAGE_SHIFT
const PAGE_MASK = PAGE - 1
/** A log2 of this or more is no boundary. */
const NO_BOUNDARY = 52

/** Permissions follow the direction exactly: the device gets no more than it needs. */
const accessOf = (direction: number): number =>
  (readsMemory(direction) ? READ : 0) | (writesMemory(direction) ? WRITE : 0)

const pagesOf = (offset: number, length: number): number => (offset + length + PAGE_MASK) >>> SHIFT

export class DmaIommu implements DmaBackend {
  declare readonly name: string
  declare readonly takesGrants: boolean
  declare private readonly memory: KernelMemory
  declare private readonly platform: PlatformMemory
  declare private readonly domain: IommuDomain
  declare private readonly parameters: DmaParameters
  /** The batch being made: pages of each run, and whether it continues the one before. */
  declare private readonly runPages: Int32Array
  declare private readonly runFollows: Uint8Array
  #runs = 0

  constructor(memory: KernelMemory, domain: IommuDomain, parameters: DmaParameters) {
    this.name = domain.name
    this.takesGrants = domain.takesGrants
    this.memory = memory
    this.platform = memory.platform
    this.domain = domain
    this.parameters = parameters
    this.runPages = new Int32Array(domain.capacity)
    this.runFollows = new Uint8Array(domain.capacity)
  }

  checkMask(bits: number): number {
    return bits < this.domain.minAddressBits ? -Errno.EIO : 0
  }

  maxMappingSize(): number {
    return this.domain.capacity * PAGE_SIZE
  }

  mapSingle(pfn: number, offset: number, length: number, direction: number): number {
    const pages = pagesOf(offset, length)
    if (pages > this.domain.capacity) return DMA_MAPPING_ERROR
    this.#begin(accessOf(direction), 0, pages, this.parameters.maskBits)
    this.#addPages(pfn, pages, false)
    if (!this.#commit()) return DMA_MAPPING_ERROR
    return (this.domain.ioHigh(0) >>> 0) * 0x1_0000_0000 + (this.domain.ioLow(0) >>> 0) + offset
  }

  unmapSingle(address: number, length: number, _direction: number): void {
    this.domain.unmapBegin()
    this.domain.unmapRange(
      Math.floor(address / 0x1_0000_0000) | 0,
      address & ~PAGE_MASK,
      pagesOf(address & PAGE_MASK, length),
    )
    this.#finish(this.domain.unmapCommit())
  }

  mapSg(list: ScatterList, direction: number): number {
    if (list.granter !== OWN_PAGES) return this.#mapGrants(list, direction)
    const pages = pagesIn(list)
    if (pages > this.domain.capacity || pages * PAGE_SIZE > this.parameters.segmentBoundary) return -Errno.EINVAL
    this.#begin(accessOf(direction), 0, pages, this.parameters.maskBits)
    for (let i = 0; i < list.count; i++)
      this.#addPages(list.pages[i]!, pagesOf(list.offsets[i]!, list.lengths[i]!), i > 0)
    return this.#commit() ? this.#layOut(list) : this.domain.error
  }

  unmapSg(list: ScatterList, _direction: number): void {
    const domain = this.domain
    if (list.granter !== OWN_PAGES) {
      this.#ungrant(list, list.count)
    } else {
      domain.unmapBegin()
      domain.unmapRange(list.dmaHigh[0]!, list.dmaLow[0]! & ~PAGE_MASK, pagesIn(list))
      this.#finish(domain.unmapCommit())
    }
    list.segments = 0
  }

  mapEach(list: ScatterList, direction: number): number {
    if (list.granter !== OWN_PAGES) return -Errno.EINVAL
    const access = accessOf(direction)
    for (let from = 0; from < list.count;) {
      const whole = this.domain.mapPages(list, this.platform, from, access, this.parameters.maskBits)
      const end = whole === from ? this.#mapSome(list, from, access) : whole
      if (end < 0) {
        this.#unmapEntries(list, from)
        return end
      }
      from = end
    }
    list.segments = list.count
    return list.count
  }

  unmapEach(list: ScatterList, _direction: number): void {
    this.#unmapEntries(list, list.count)
    list.segments = 0
  }

  syncForCpu(): void {}

  syncForDevice(): void {}

  allocateCoherent(bytes: number): CoherentBuffer | null {
    const buffer = this.memory.allocate(bytes)
    if (buffer === null) return null
    const { pages } = buffer
    if (pages <= this.domain.capacity) {
      this.#begin(
        accessOf(Direction.bidirectional),
        orderOf(pages) + PAGE_SHIFT,
        pages,
        this.parameters.coherentMaskBits,
      )
      this.#addPages(buffer.pfn, pages, false)
      if (this.#commit())
        return { buffer, address: (this.domain.ioHigh(0) >>> 0) * 0x1_0000_0000 + (this.domain.ioLow(0) >>> 0) }
    }
    this.memory.free(buffer)
    return null
  }

  freeCoherent({ buffer, address }: CoherentBuffer): void {
    this.unmapSingle(address, buffer.length, Direction.bidirectional)
    this.memory.free(buffer)
  }

  release(): void {
    this.domain.release()
  }

  /** Maps entries from `from` on until the batch is full; the first one not mapped, or −errno with nothing of the batch mapped. */
  #mapSome(list: ScatterList, from: number, access: number): number {
    const { offsets, lengths, handles, pages, dmaHigh, dmaLow, dmaLengths } = list
    const domain = this.domain
    const { capacity } = domain
    this.#begin(access, 0, 1, this.parameters.maskBits)
    let end = from
    for (; end < list.count; end++) {
      const count = pagesOf(offsets[end]!, lengths[end]!)
      if (this.#runs + count > capacity) break
      handles[end] = this.#runs
      this.#addPages(pages[end]!, count, false)
    }
    if (end === from) return -Errno.EINVAL
    if (!this.#commit()) return domain.error
    for (let i = from; i < end; i++) {
      const run = handles[i]!
      dmaHigh[i] = domain.ioHigh(run)
      dmaLow[i] = domain.ioLow(run) | offsets[i]!
      dmaLengths[i] = lengths[i]!
    }
    return end
  }

  #unmapEntries(list: ScatterList, count: number): void {
    const { capacity } = this.domain
    for (let from = 0; from < count; from += capacity) {
      this.#finish(this.domain.unmapSegments(list, from, Math.min(count, from + capacity)))
    }
  }

  #begin(access: number, align: number, pages: number, addressBits: number): void {
    this.#runs = 0
    // A page never crosses a boundary of a page or more.
    const boundary = pages === 1 ? 0 : Math.floor(Math.log2(this.parameters.segmentBoundary))
    this.domain.mapBegin(access, align, boundary >= NO_BOUNDARY ? 0 : boundary, addressBits)
  }

  /** Adds `count` pages from `pfn` on; neighbours in the machine make one run. */
  #addPages(pfn: number, count: number, follows: boolean): void {
    let continues = follows
    for (let i = 0; i < count;) {
      const first = this.platform.machineFrame(pfn + i)
      let pages = 1
      while (i + pages < count && this.platform.machineFrame(pfn + i + pages) === first + pages) pages++
      this.runPages[this.#runs] = pages
      this.runFollows[this.#runs] = continues ? 1 : 0
      this.#runs++
      this.domain.mapRun(first, pages, continues)
      continues = true
      i += pages
    }
  }

  /** True when the whole batch is mapped; false with nothing of it mapped. */
  #commit(): boolean {
    const done = this.domain.mapCommit()
    if (done === this.#runs) return true
    const { error } = this.domain
    this.domain.unmapBegin()
    for (let run = 0; run < done;) {
      const first = run
      let pages = this.runPages[run++]!
      while (run < done && this.runFollows[run] === 1) pages += this.runPages[run++]!
      this.domain.unmapRange(this.domain.ioHigh(first), this.domain.ioLow(first), pages)
    }
    if (done > 0) this.#finish(this.domain.unmapCommit())
    this.domain.error = error
    return false
  }

  /** Addresses for a list that became one range; neighbours that meet at a page edge become one segment. */
  #layOut(list: ScatterList): number {
    const { offsets, lengths, dmaHigh, dmaLow, dmaLengths } = list
    const high = this.domain.ioHigh(0)
    const base = this.domain.ioLow(0) >>> 0
    const { maxSegmentSize } = this.parameters
    let done = 0
    let last = -1
    let open = false
    for (let i = 0; i < list.count; i++) {
      const offset = offsets[i]!
      const length = lengths[i]!
      if (open && offset === 0 && dmaLengths[last]! + length <= maxSegmentSize) {
        dmaLengths[last]! += length
      } else {
        const low = base + done + offset
        last++
        dmaHigh[last] = low > 0xffff_ffff ? high + 1 : high
        dmaLow[last] = low
        dmaLengths[last] = length
      }
      open = ((offset + length) & PAGE_MASK) === 0
      done += pagesOf(offset, length) * PAGE_SIZE
    }
    list.segments = last + 1
    return last + 1
  }

  #mapGrants(list: ScatterList, direction: number): number {
    const domain = this.domain
    const { count, offsets, lengths } = list
    if (!domain.takesGrants || count > domain.capacity) return -Errno.EINVAL
    // A grant is one page; where its neighbours lie is not this domain's to know.
    for (let i = 0; i < count; i++) if (offsets[i]! + lengths[i]! > PAGE) return -Errno.EINVAL
    const done = domain.mapGrants(list, accessOf(direction), this.parameters.maskBits)
    if (done < count) {
      const { error } = domain
      if (done > 0) this.#ungrant(list, done)
      return error
    }
    list.segments = count
    return count
  }

  #ungrant(list: ScatterList, count: number): void {
    this.#finish(this.domain.unmapGrants(list, count))
  }

  // EIO: the mapping is gone but its frames are stuck until the device is reset, which the hypervisor knows and keeps. Anything
  // else means that this layer lost track of what it mapped.
  #finish(result: number): void {
    if (result < 0 && result !== -Errno.EIO)
      throw new InvariantError('dma-iommu unmaps only what it mapped', `the unmap answered ${result}`)
  }
}

function pagesIn(list: ScatterList): number {
  let pages = 0
  for (let i = 0; i < list.count; i++) pages += pagesOf(list.offsets[i]!, list.lengths[i]!)
  return pages
}
