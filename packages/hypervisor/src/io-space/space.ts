/**
 * One I/O space: a table of the unit, what is mapped in it page by page, and the references that those mappings hold. Every method leaves
 * the space as it was when it fails. An entry is cleared, its invalidation completes, and only then its references are dropped.
 */
import { InvariantError } from '@iospace/wire'
import { Errno } from '@iospace/abi'
import { DriverStatus, type IommuDriver } from '@iospace/iommu/driver'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { accessKinds } from './capabilities.ts'
import { AddressAllocator } from './addresses.ts'
import { Deferred } from './deferred.ts'
import { GrantHandles } from './grant-handles.ts'
import { ACCESS_BITS, Mark, PAYLOAD_SHIFT } from './mark.ts'
import { PageTree } from './page-tree.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const OK = DriverStatus.ok
const {
  write: WRITE,
  start: START,
  end: END,
  grant: GRANT,
  pending: PENDING,
  reserved: RESERVED,
  device: DEVICE,
} = Mark
const SHIFT = PAYLOAD_SHIFT
const ACCESS = ACCESS_BITS

/** I/O addresses that a space can have: below 2^43, so that page numbers are small integers. */
export const MAX_IO_BITS = 43
const MOST_PAGES = 2 ** 31 - 1
/** Writes of devices here are interrupt messages: [first byte, byte behind]. */
const MESSAGES = [0xfee0_0000, 0xfef0_0000] as const

export interface SpaceWindow {
  /** First page, and the page behind the last. */
  readonly first: number
  readonly end: number
}

export class Space {
  declare readonly id: number
  declare readonly domain: Domain
  declare readonly table: number
  declare readonly window: SpaceWindow
  /** Pages that the hypervisor picks end here: the last page of the widest window is not worth a number that needs a box at every call. */
  declare private readonly pickEnd: number
  /** Bit n: entries of access n are exact. */
  declare readonly exactAccess: number
  /** Width of its table, and what the hardware promised when it was made. */
  declare readonly addressBits: number
  /** Pages inside the window that devices do not reach through it. */
  declare readonly kept: readonly SpaceWindow[]
  readonly pages = new PageTree()
  declare readonly addresses: AddressAllocator
  readonly grants = new GrantHandles()
  declare readonly deferred: Deferred
  /** Unmaps leave their invalidations pending unless the call says otherwise. */
  declare readonly defers: boolean
  declare readonly core: Core
  declare readonly driver: IommuDriver
  /** Mapped pages, those of grants included. */
  mapped = 0
  /** A timer will complete what is pending. */
  ageArmed = false
  /** Set when it is destroyed under a preempted call. */
  dead = false

  constructor(
    core: Core,
    driver: IommuDriver,
    domain: Domain,
    id: number,
    table: number,
    window: SpaceWindow,
    addressBits: number,
    defers: boolean,
  ) {
    this.core = core
    this.driver = driver
    this.domain = domain
    this.id = id
    this.table = table
    this.window = window
    this.pickEnd = Math.min(window.end, MOST_PAGES)
    this.exactAccess = accessKinds(driver.capabilities)
    this.addressBits = addressBits
    this.defers = defers
    this.addresses = new AddressAllocator(this.pages, window.first, window.end)
    this.deferred = new Deferred(this)
    this.kept = [MESSAGES, ...driver.capabilities.untranslated].map(([first, end]) => ({
      first: Math.max(Math.floor(first / 4096), window.first),
      end: Math.min(Math.ceil(end / 4096), window.end),
    }))
    for (const range of this.kept) for (let page = range.first; page < range.end; page++) this.pages.set(page, RESERVED)
  }

  /** Whether an explicit range may be used: 0, `ERANGE`, `EADDRNOTAVAIL`, `EADDRINUSE`. Completes pending invalidations that are in the way. */
  checkFree(page: number, pages: number): number {
    const { window } = this
    if (page < window.first || page + pages > window.end) return -Errno.ERANGE
    if (this.isReserved(page, pages)) return -Errno.EADDRNOTAVAIL
    let taken = this.pages.lastTaken(page, pages)
    if (taken >= 0 && (this.pages.get(taken) & PENDING) !== 0 && this.deferred.entries > 0) {
      if (!this.deferred.complete()) return -Errno.EIO
      taken = this.pages.lastTaken(page, pages)
    }
    return taken < 0 ? 0 : -Errno.EADDRINUSE
  }

  /** The first page that a limit (`lo`, `hi`: highest byte allowed) forbids; the window's end for 0. For addresses that are picked. */
  limitPage(lo: number, hi: number): number {
    const end = this.pickEnd
    if ((lo | hi) === 0 || hi >>> 11 !== 0) return end
    const page = ((hi << 20) | (lo >>> 12)) + ((lo & 0xfff) === 0xfff ? 1 : 0)
    return page < end ? page : end
  }

  /** True when the range touches one that the hardware keeps for itself. */
  isReserved(page: number, pages: number): boolean {
    const { kept } = this
    for (let i = 0; i < kept.length; i++) {
      const { first, end } = kept[i]!
      if (page < end && page + pages > first) return true
    }
    return false
  }

  /** Stores the entries of a range whose frames are referenced: 0, `ENOMEM`, `ERANGE`, `EIO`. A caching unit must be waited for after it. */
  store(page: number, mfn: number, pages: number, access: number, exact4k: boolean): number {
    const { core, driver } = this
    core.heap.payer = this.domain
    const status = driver.map(this.table, page >>> 20, page << 12, mfn, pages, access, exact4k)
    core.heap.payer = null
    if (status === OK) {
      if (driver.capabilities.invalidateOnMap) this.queue(page, pages)
      return 0
    }
    if (status === DriverStatus.noMemory) return -Errno.ENOMEM
    if (status === DriverStatus.unsupported) return -Errno.ERANGE
    // Devices may know what is not in the table any more, until the unit has forgotten it.
    core.devices.fenceAll()
    return -Errno.EIO
  }

  /** Marks a page as cleared: what it holds is held until the invalidation is complete. */
  setPending(page: number): void {
    this.pages.mark(page, 0, 0, PENDING)
  }

  /** Notes a page. */
  mark(page: number, payload: number, marks: number): void {
    this.pages.set(page, (payload << SHIFT) | marks)
    this.mapped++
  }

  /** Clears entries in the table; {@link forget} may follow once the invalidation is complete. 0 or `ENOMEM` (a large page cannot be split). */
  clear(page: number, pages: number): number {
    const { core, driver } = this
    core.heap.payer = this.domain
    const status = driver.unmap(this.table, page >>> 20, page << 12, pages)
    core.heap.payer = null
    if (status !== OK) return -Errno.ENOMEM
    return 0
  }

  /** Queues the invalidation of a range. */
  queue(page: number, pages: number): void {
    this.driver.queueInvalidation(this.table, page >>> 20, page << 12, pages)
  }

  /** {@link forget} for the pages of `count` ranges (page, pages), whose addresses are free then. */
  forgetAll(ranges: Int32Array, count: number): void {
    const { pages, addresses } = this
    const { frames } = this.core
    // Memory is counted here, grants where they are released.
    let forgotten = 0
    // Last first: what is freed last is given out first, so a batch of the same size gets the same pages in the same order, side by side,
    // and ends in one invalidation.
    for (let i = count - 1; i >= 0; i--) {
      const page = ranges[i * 2]!
      const length = ranges[i * 2 + 1]!
      for (let j = 0; j < length; j++) {
        const value = pages.take(page + j)
        if ((value & GRANT) !== 0) this.grants.release(this, value >>> SHIFT)
        else {
          frames.drop(value >>> SHIFT, (value & WRITE) !== 0)
          forgotten++
        }
      }
      this.mapped -= length
      addresses.freed(page, length)
    }
    this.domain.pinned -= forgotten
  }

  /** Drops what page `page` held: its references (memory) or its grant. The invalidation is complete. */
  forget(page: number): void {
    const value = this.pages.take(page)
    this.mapped--
    const payload = value >>> SHIFT
    if ((value & GRANT) !== 0) {
      if ((value & DEVICE) === 0) this.grants.release(this, payload)
      return
    }
    this.core.frames.drop(payload, (value & WRITE) !== 0)
    this.domain.pinned--
  }

  /** Enters the end of a mapping in the books. */
  noteUnmapped(page: number, pages: number): void {
    const { books, machine, clock } = this.core
    books.mappingsEnded++
    books.pagesUnmapped += pages
    if (machine.trace !== null) machine.trace.unmap(clock.now, this.domain.domid, this.id, page * 4096, pages)
  }

  /** Takes the references of one frame for a mapping with `access`: 0, `ENXIO`, `EACCES`, `ENOBUFS`. */
  reference(index: number, access: number): number {
    return this.core.frames.acquire(index, this.domain.domid, (access & WRITE) !== 0)
  }

  /** Undoes {@link reference}. */
  unreference(index: number, access: number): void {
    this.core.frames.drop(index, (access & WRITE) !== 0)
  }

  /** Pages that the mapping at `page` has, from its start on. */
  lengthFrom(page: number): number {
    let pages = 1
    while ((this.pages.get(page + pages - 1) & END) === 0) pages++
    return pages
  }

  /** First page of the mapping that `page` is in. */
  startOf(page: number): number {
    let first = page
    while ((this.pages.get(first) & START) === 0) {
      first--
      if (first < 0) throw new InvariantError('a mapping has a start', `page ${page} of space ${this.id}`)
    }
    return first
  }
}

/** True for a page that a device reaches. */
export function isMapped(value: number): boolean {
  return (value & ACCESS) !== 0 && (value & PENDING) === 0
}
