/**
 * One I/O space: a table of the unit, what is mapped in it page by page, and the references that those mappings hold. Every method leaves
 * the space as it was when it fails. An entry is cleared, its invalidation completes, and only then its references are dropped.
 */
import { InvariantError } from '@iospace/wire'
import { Errno } from '@iospace/abi'
import { DriverStatus, type IommuDriver } from '@iospace/iommu/driver'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { AddressAllocator } from './addresses.ts'
import { Deferred } from './deferred.ts'
import { GrantHandles } from './grant-handles.ts'
import { ACCESS_BITS, Mark, PAYLOAD_SHIFT } from './mark.ts'
import { PageTree } from './page-tree.ts'

/** I/O addresses that a space can have: below 2^43, so that page numbers are small integers. */
export const MAX_IO_BITS = 43
/** Writes of devices here are interrupt messages: [first, end) in pages. */
const MESSAGES = 0xfee00
const MESSAGES_END = 0xfef00

export interface SpaceWindow {
  /** First page, and the page behind the last. */
  readonly first: number
  readonly end: number
}

export class Space {
  readonly id: number
  readonly domain: Domain
  readonly table: number
  readonly window: SpaceWindow
  /** Width of its table, and what the hardware promised when it was made. */
  readonly addressBits: number
  readonly pages = new PageTree()
  readonly addresses: AddressAllocator
  readonly grants = new GrantHandles()
  readonly deferred: Deferred
  /** Unmaps leave their invalidations pending unless the call says otherwise. */
  readonly defers: boolean
  readonly core: Core
  readonly driver: IommuDriver
  /** Mapped pages, those of grants included. */
  mapped = 0
  /** A timer will complete what is pending. */
  ageArmed = false
  /** Set when it is destroyed under a preempted call. */
  dead = false

  constructor(core: Core, driver: IommuDriver, domain: Domain, id: number, table: number, window: SpaceWindow, addressBits: number, defers: boolean) {
    this.core = core
    this.driver = driver
    this.domain = domain
    this.id = id
    this.table = table
    this.window = window
    this.addressBits = addressBits
    this.defers = defers
    this.addresses = new AddressAllocator(this.pages, window.first, window.end)
    this.deferred = new Deferred(this)
    for (let page = Math.max(MESSAGES, window.first); page < Math.min(MESSAGES_END, window.end); page++) this.pages.set(page, Mark.reserved)
  }

  /** Whether an explicit range may be used: 0, `ERANGE`, `EADDRNOTAVAIL`, `EADDRINUSE`. Completes pending invalidations that are in the way. */
  checkFree(page: number, pages: number): number {
    const { window } = this
    if (page < window.first || page + pages > window.end) return -Errno.ERANGE
    if (page < MESSAGES_END && page + pages > MESSAGES) return -Errno.EADDRNOTAVAIL
    let taken = this.pages.lastTaken(page, pages)
    if (taken >= 0 && (this.pages.get(taken) & Mark.pending) !== 0 && this.deferred.entries > 0) {
      if (!this.deferred.complete()) return -Errno.EIO
      taken = this.pages.lastTaken(page, pages)
    }
    return taken < 0 ? 0 : -Errno.EADDRINUSE
  }

  /** The first page that a limit (`lo`, `hi`: highest byte allowed) forbids; the window's end for 0. */
  limitPage(lo: number, hi: number): number {
    const { end } = this.window
    if (lo === 0 && hi === 0) return end
    return Math.min(end, Math.floor(((hi >>> 0) * 2 ** 32 + (lo >>> 0) + 1) / 4096))
  }

  /** True when the range touches one that the hardware keeps for itself. */
  isReserved(page: number, pages: number): boolean {
    return page < MESSAGES_END && page + pages > MESSAGES
  }

  /** Stores the entries of a range whose frames are referenced: 0, `ENOMEM`, `ERANGE`, `EIO`. A caching unit must be waited for after it. */
  store(page: number, mfn: number, pages: number, access: number, exact4k: boolean): number {
    const { core, driver } = this
    core.heap.payer = this.domain
    const status = driver.map(this.table, page >>> 20, page << 12, mfn, pages, access, exact4k)
    core.heap.payer = null
    if (status === DriverStatus.ok) {
      if (driver.capabilities.invalidateOnMap) this.queue(page, pages)
      return 0
    }
    return status === DriverStatus.noMemory ? -Errno.ENOMEM : status === DriverStatus.unsupported ? -Errno.ERANGE : -Errno.EIO
  }

  /** Notes a page. */
  mark(page: number, payload: number, marks: number): void {
    this.pages.set(page, (payload << PAYLOAD_SHIFT) | marks)
    this.mapped++
  }

  /** Clears entries in the table; {@link forget} may follow once the invalidation is complete. 0 or `ENOMEM` (a large page cannot be split). */
  clear(page: number, pages: number): number {
    const { core, driver } = this
    core.heap.payer = this.domain
    const status = driver.unmap(this.table, page >>> 20, page << 12, pages)
    core.heap.payer = null
    if (status !== DriverStatus.ok) return -Errno.ENOMEM
    return 0
  }

  /** Queues the invalidation of a range. */
  queue(page: number, pages: number): void {
    this.driver.queueInvalidation(this.table, page >>> 20, page << 12, pages)
  }

  /** Drops what page `page` held: its references (memory) or its grant. The invalidation is complete. */
  forget(page: number): void {
    const value = this.pages.get(page)
    this.pages.set(page, 0)
    this.mapped--
    const payload = value >>> PAYLOAD_SHIFT
    if ((value & Mark.grant) !== 0) {
      if ((value & Mark.device) === 0) this.grants.release(this, payload)
      return
    }
    const { frames } = this.core
    if ((value & Mark.write) !== 0) frames.putWritable(payload)
    frames.put(payload)
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
    const { frames } = this.core
    const { domain } = this
    if (!frames.get(index, domain.domid)) return -Errno.ENXIO
    if ((access & Mark.write) !== 0 && !frames.getWritable(index)) {
      frames.put(index)
      return -Errno.EACCES
    }
    return 0
  }

  /** Undoes {@link reference}. */
  unreference(index: number, access: number): void {
    const { frames } = this.core
    if ((access & Mark.write) !== 0) frames.putWritable(index)
    frames.put(index)
  }

  /** Pages that the mapping at `page` has, from its start on. */
  lengthFrom(page: number): number {
    let pages = 1
    while ((this.pages.get(page + pages - 1) & Mark.end) === 0) pages++
    return pages
  }

  /** First page of the mapping that `page` is in. */
  startOf(page: number): number {
    let first = page
    while ((this.pages.get(first) & Mark.start) === 0) {
      first--
      if (first < 0) throw new InvariantError('a mapping has a start', `page ${page} of space ${this.id}`)
    }
    return first
  }
}

/** True for a page that a device reaches. */
export function isMapped(value: number): boolean {
  return (value & ACCESS_BITS) !== 0 && (value & Mark.pending) === 0
}
