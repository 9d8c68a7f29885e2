/**
 * An I/O space of the hypervisor as a dma-iommu domain: `iommu_op` map, unmap, map_grant and unmap_grant with lists in preallocated
 * pages. The hypervisor picks the addresses (`ANY`); a chain of `FOLLOWS` makes a scattered buffer contiguous for the device.
 */
import {
  Errno,
  IOMMU_FLAG,
  iommu_map,
  iommu_map_element,
  iommu_map_grant,
  iommu_map_grant_element,
  IOMMU_OP,
  iommu_unmap,
  iommu_unmap_element,
  iommu_unmap_grant,
  iommu_unmap_grant_element,
  MAP_ELEMENT_FLAGS,
  MAP_GRANT_ELEMENT_FLAGS,
  PAGE_SHIFT,
  PAGE_SIZE,
} from '@iospace/abi'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import type { HypercallList } from '../xen/hypercall-list.ts'
import type { HypercallGate } from '../xen/hypercalls.ts'
import type { PlatformMemory } from '../platform.ts'
import type { IommuDomain } from './iommu-domain.ts'
import { IommuListCall } from './iommu-list-call.ts'
import type { ScatterList } from './scatterlist.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { ANY, FOLLOWS, WIDEN } = MAP_ELEMENT_FLAGS
const { ANY: GRANT_ANY, WIDEN: GRANT_WIDEN } = MAP_GRANT_ELEMENT_FLAGS
const PAGE = PAGE_SIZE
const SHIFT = PAGE_SHIFT
const PAGE_MASK = PAGE - 1
/** A word index that is known to be below 2^30 needs no overflow check where a field's index is added. */
const INDEX = 0x3fff_ffff
/** Elements in a list: 2 MiB of single pages. */
const CAPACITY = 512

const MAP = iommu_map_element.words
const MAP_FLAGS_SHIFT = iommu_map_element.shifts.flags
const BOUNDARY_SHIFT = iommu_map_element.shifts.boundary
const UNMAP = iommu_unmap_element.words
const GRANT = iommu_map_grant_element.words
const GRANT_ACCESS_SHIFT = iommu_map_grant_element.shifts.access
const UNGRANT = iommu_unmap_grant_element.words
/** An address has no more bits than this side of JavaScript's exact numbers. */
const LIMIT_BITS = 52

export class XenIommuDomain implements IommuDomain {
  readonly name = 'xen'
  readonly takesGrants = true
  readonly capacity = CAPACITY
  declare readonly minAddressBits: number
  error = 0
  declare private readonly words: Int32Array
  declare private readonly map: IommuListCall
  declare private readonly unmap: IommuListCall
  declare private readonly grant: IommuListCall
  declare private readonly ungrant: IommuListCall
  declare private readonly lazy: boolean
  /** The list that {@link ioHigh} and {@link ioLow} read: both element kinds begin with io_address. */
  #committed: HypercallList
  /** Flags of an element, where the access is beside them: placed by itself, behind the one before it; and of a grant. */
  declare private readonly any: number
  declare private readonly follows: number
  declare private readonly grantFlags: number
  #accessAny = 0
  #accessFollows = 0
  #shape = 0
  /** Address bits that the limit is of. */
  #limitBits = 0
  #limitHigh = 0
  #limitLow = 0

  /**
   * Space `space` of this domain, whose window begins below `minAddressBits` bits. `widens`: the hardware has no entry for some access, and a
   * device may get more than it was given. `lazy`: the device may reach what was unmapped a little longer, as long as the control domain's
   * limits of entries and age say; the hypervisor keeps the frames and their addresses meanwhile. Grants are never unmapped so: their
   * granter waits.
   */
  constructor(
    gate: HypercallGate,
    memory: KernelMemory,
    space: number,
    minAddressBits: number,
    widens = false,
    lazy = false,
  ) {
    this.lazy = lazy
    this.any = (ANY | (widens ? WIDEN : 0)) << MAP_FLAGS_SHIFT
    this.follows = (FOLLOWS | (widens ? WIDEN : 0)) << MAP_FLAGS_SHIFT
    this.grantFlags = GRANT_ANY | (widens ? GRANT_WIDEN : 0)
    this.minAddressBits = minAddressBits
    this.words = memory.platform.words
    this.map = new IommuListCall(gate, memory, IOMMU_OP.map, iommu_map, 0, space, CAPACITY, iommu_map_element.size)
    this.unmap = new IommuListCall(
      gate,
      memory,
      IOMMU_OP.unmap,
      iommu_unmap,
      IOMMU_FLAG.CONTINUE | (lazy ? IOMMU_FLAG.NO_FLUSH : 0),
      space,
      CAPACITY,
      iommu_unmap_element.size,
    )
    this.grant = new IommuListCall(
      gate,
      memory,
      IOMMU_OP.map_grant,
      iommu_map_grant,
      0,
      space,
      CAPACITY,
      iommu_map_grant_element.size,
    )
    this.ungrant = new IommuListCall(
      gate,
      memory,
      IOMMU_OP.unmap_grant,
      iommu_unmap_grant,
      IOMMU_FLAG.CONTINUE,
      space,
      CAPACITY,
      iommu_unmap_grant_element.size,
    )
    this.#committed = this.map.list
  }

  mapBegin(access: number, align: number, boundary: number, addressBits: number): void {
    this.map.count = 0
    this.#accessAny = access | this.any
    this.#accessFollows = access | this.follows
    this.#shape = align | (boundary << BOUNDARY_SHIFT)
    this.#setLimit(addressBits)
  }

  mapRun(gfn: number, pages: number, follows: boolean): void {
    const words = this.words
    const index = this.map.count++
    const at = this.map.list.open(index)
    // io_address, page_order, status and granted are the hypervisor's to write; the rest of the element never changes.
    words[at + MAP.gfn] = gfn
    words[at + MAP.pages] = pages
    words[at + MAP.limit] = this.#limitLow
    words[at + MAP.limit + 1] = this.#limitHigh
    words[at + MAP.access] = follows ? this.#accessFollows : this.#accessAny
    words[at + MAP.align] = this.#shape
    if (this.map.list.at[index]! < 0) this.#closeMap(index, at)
  }

  mapCommit(): number {
    this.#committed = this.map.list
    return this.#finish(this.map, this.map.call())
  }

  ioHigh(index: number): number {
    return this.words[this.#committed.load(index) + MAP.io_address + 1]!
  }

  ioLow(index: number): number {
    return this.words[this.#committed.load(index) + MAP.io_address]!
  }

  unmapBegin(): void {
    this.unmap.count = 0
  }

  unmapRange(high: number, low: number, pages: number): void {
    const words = this.words
    const { list } = this.unmap
    const index = this.unmap.count++
    const at = list.open(index)
    words[at + UNMAP.io_address] = low
    words[at + UNMAP.io_address + 1] = high
    words[at + UNMAP.pages] = pages
    if (list.at[index]! < 0) this.#closeUnmap(index, at)
  }

  unmapCommit(): number {
    return this.#finishAll(this.unmap, this.unmap.call(), UNMAP.status)
  }

  mapPages(list: ScatterList, memory: PlatformMemory, from: number, access: number, addressBits: number): number {
    // Everything that the loops touch is a local: this is the path of every packet.
    const { pages, offsets, lengths, dmaHigh, dmaLow, dmaLengths } = list
    const call = this.map
    const words = this.words
    const { at } = call.list
    const end = Math.min(list.count, from + CAPACITY)
    const flags = access | this.any
    this.#setLimit(addressBits)
    const limitLow = this.#limitLow
    const limitHigh = this.#limitHigh
    for (let i = from; i < end; i++) {
      if (offsets[i]! + lengths[i]! > PAGE) return from
      const element = at[i - from]!
      const place = (element < 0 ? call.list.open(i - from) : element) & INDEX
      words[place + MAP.gfn] = memory.machineFrame(pages[i]!)
      words[place + MAP.pages] = 1
      words[place + MAP.limit] = limitLow
      words[place + MAP.limit + 1] = limitHigh
      words[place + MAP.access] = flags
      words[place + MAP.align] = 0
      if (element < 0) this.#closeMap(i - from, place)
    }
    call.count = end - from
    const error = call.call()
    const mapped = error === 0 ? end : from + call.done
    for (let i = from; i < mapped; i++) {
      const element = at[i - from]!
      const place = (element < 0 ? call.list.load(i - from) : element) & INDEX
      dmaHigh[i] = words[place + MAP.io_address + 1]!
      dmaLow[i] = words[place + MAP.io_address]! | offsets[i]!
      dmaLengths[i] = lengths[i]!
    }
    if (error === 0) return end
    if (mapped > from) this.unmapSegments(list, from, mapped)
    return error
  }

  unmapSegments(list: ScatterList, from: number, end: number): number {
    const { dmaHigh, dmaLow, dmaLengths } = list
    const call = this.unmap
    const words = this.words
    const { at } = call.list
    for (let i = from; i < end; i++) {
      const low = dmaLow[i]!
      const element = at[i - from]!
      const place = (element < 0 ? call.list.open(i - from) : element) & INDEX
      words[place + UNMAP.io_address] = low & ~PAGE_MASK
      words[place + UNMAP.io_address + 1] = dmaHigh[i]!
      words[place + UNMAP.pages] = ((low & PAGE_MASK) + dmaLengths[i]! + PAGE_MASK) >>> SHIFT
      if (element < 0) this.#closeUnmap(i - from, place)
    }
    call.count = end - from
    return this.unmapCommit()
  }

  mapGrants(list: ScatterList, access: number, addressBits: number): number {
    const { count, pages, offsets, lengths, dmaHigh, dmaLow, dmaLengths, handles } = list
    const call = this.grant
    const words = this.words
    const { at } = call.list
    const who = list.granter | (access << GRANT_ACCESS_SHIFT)
    const flags = this.grantFlags
    this.#setLimit(addressBits)
    const limitLow = this.#limitLow
    const limitHigh = this.#limitHigh
    // The address is not looked at where the hypervisor picks it, and what it answers it writes each time.
    for (let i = 0; i < count; i++) {
      const element = at[i]!
      const place = element < 0 ? call.list.open(i) : element
      words[place + GRANT.limit] = limitLow
      words[place + GRANT.limit + 1] = limitHigh
      words[place + GRANT.domid] = who
      words[place + GRANT.ref] = pages[i]!
      words[place + GRANT.flags] = flags
      if (element < 0) call.list.close(i)
    }
    call.count = count
    const done = this.#finish(call, call.call())
    for (let i = 0; i < done; i++) {
      const element = at[i]!
      const place = element < 0 ? call.list.load(i) : element
      dmaHigh[i] = words[place + GRANT.io_address + 1]!
      dmaLow[i] = words[place + GRANT.io_address]! | offsets[i]!
      dmaLengths[i] = lengths[i]!
      handles[i] = words[place + GRANT.handle]!
    }
    return done
  }

  unmapGrants({ handles }: ScatterList, count: number): number {
    const call = this.ungrant
    const words = this.words
    const { at } = call.list
    for (let i = 0; i < count; i++) {
      const element = at[i]!
      const place = element < 0 ? call.list.open(i) : element
      words[place + UNGRANT.handle] = handles[i]!
      if (element < 0) this.#closeUngrant(i, place)
    }
    call.count = count
    return this.#finishAll(call, call.call(), UNGRANT.error)
  }

  release(): void {
    // A strict call completes what is pending, here one that ends nothing: after it the device reaches nothing of this kernel's.
    if (this.lazy) {
      this.ungrant.count = 0
      this.ungrant.call()
    }
    for (const call of [this.map, this.unmap, this.grant, this.ungrant]) call.free()
  }

  // What is composed aside shares its place with others, so its constant words are written each time.
  #closeMap(index: number, at: number): void {
    const words = this.words
    words[at + MAP.io_address] = 0
    words[at + MAP.io_address + 1] = 0
    words[at + MAP.gfn + 1] = 0
    words[at + MAP.pages + 1] = 0
    words[at + MAP.status] = 0
    words[at + MAP.granted] = 0
    this.map.list.close(index)
  }

  #closeUnmap(index: number, at: number): void {
    const words = this.words
    words[at + UNMAP.pages + 1] = 0
    words[at + UNMAP.status] = 0
    words[at + UNMAP.done] = 0
    this.unmap.list.close(index)
  }

  #closeUngrant(index: number, at: number): void {
    const words = this.words
    words[at + UNGRANT.status] = 0
    words[at + UNGRANT.error] = 0
    words[at + UNGRANT.error + 1] = 0
    this.ungrant.list.close(index)
  }

  #setLimit(addressBits: number): void {
    // The same from call to call, and a power costs as much as the rest.
    if (addressBits === this.#limitBits) return
    this.#limitBits = addressBits
    const bits = Math.min(addressBits, LIMIT_BITS)
    this.#limitLow = bits >= 32 ? -1 : (1 << bits) - 1
    this.#limitHigh = bits > 32 ? 2 ** (bits - 32) - 1 : 0
  }

  #finish(call: IommuListCall, result: number): number {
    this.error = result
    return result === 0 ? call.count : call.done
  }

  /** All were tried: the first error of an element, if one failed. */
  #finishAll(call: IommuListCall, result: number, errorWord: number): number {
    if (result !== 0 || call.done === call.count) return result
    for (let i = 0; i < call.count; i++) {
      const error = this.words[call.list.load(i) + errorWord]!
      if (error !== 0) return error
    }
    return -Errno.EIO
  }
}
