/**
 * The driver of an Intel VT-d unit in legacy mode. It touches memory and registers through its {@link DriverPort} only, so it drives
 * our hardware model, QEMU's, or a unit that a hypervisor emulates. Order of operations: facts A.6.
 *
 * A table's handle is its domain id. Domain ids are given again only after everything that the unit cached under them is gone.
 */
import { StateError, UnsupportedError } from '@iospace/wire'
import {
  Access,
  DriverStatus,
  type DriverPort,
  type IommuCapabilities,
  type IommuDriver,
  type IommuFault,
} from '../iommu-driver.ts'
import { decodeCapabilities, tableWidths, type VtdCapabilities } from './spec/capabilities.ts'
import { ContextEntry, PageEntry, RootEntry } from './spec/entries.ts'
import { FAULT_RECORD_BYTES, FaultRecord, FaultStatus, GlobalCommand, Granularity, Register } from './spec/registers.ts'
import { DriverQueue } from './driver/queue.ts'
import { SecondStageTables } from './driver/tables.ts'

export interface VtdDriverOptions {
  /** Physical address of the unit's registers. */
  readonly base: number
  /** Virtual ns to wait for a command before it counts as lost. */
  readonly timeout?: number
}

const DEFAULT_TIMEOUT = 10e6

export class VtdDriver implements IommuDriver {
  declare readonly capabilities: IommuCapabilities
  declare private readonly port: DriverPort
  declare private readonly base: number
  declare private readonly timeout: number
  declare private readonly unit: VtdCapabilities
  declare private readonly pageInvalidation: boolean
  declare private readonly tables: SecondStageTables
  #queue: DriverQueue | null = null
  #rootTable = -1
  /** Context table of each bus, −1 while it has none. */
  readonly #contexts = new Int32Array(256).fill(-1)
  /** Table of each requester, 0 while it is blocked; requesters of each table. */
  readonly #attached = new Uint16Array(0x1_0000)
  declare private readonly requesters: Int32Array
  readonly #freeDomains: number[] = []
  #nextDomain = 1
  /** The range that the next descriptor will name: neighbours are joined into one. No table: there is none. */
  #rangeTable = 0
  #rangeHi = 0
  #rangeLo = 0
  #rangePages = 0
  /** Upper halves that are beyond the width of each table: bits of them. */
  declare private readonly beyond: Int32Array
  readonly #fault: IommuFault = {
    requester: 0,
    hi: 0,
    lo: 0,
    write: false,
    addressValid: true,
    hardwareReason: 0,
    lostBefore: false,
  }

  constructor(port: DriverPort, { base, timeout = DEFAULT_TIMEOUT }: VtdDriverOptions) {
    const unit = decodeCapabilities({
      capLow: port.read32(base + Register.capability),
      capHigh: port.read32(base + Register.capability + 4),
      ecapLow: port.read32(base + Register.extendedCapability),
    })
    if (!unit.queue) throw new UnsupportedError('VT-d driver', 'needs queued invalidation')
    this.port = port
    this.base = base
    this.timeout = timeout
    this.unit = unit
    this.pageInvalidation = unit.pageInvalidation
    const domains = 2 ** unit.domainBits
    this.tables = new SecondStageTables(port, unit, domains)
    this.requesters = new Int32Array(domains)
    this.beyond = new Int32Array(domains).fill(-1)
    const widths = tableWidths(unit)
    this.capabilities = {
      kind: 'vtd',
      pageSizes: (1 << 12) | (unit.pages2M ? 1 << 21 : 0) | (unit.pages1G ? 1 << 30 : 0),
      addressBits: Math.min(unit.addressBits, Math.max(...widths)),
      tableWidths: widths,
      tableOrder: 0,
      window: { first: 0, end: 2 ** Math.min(unit.addressBits, Math.max(...widths)) },
      untranslated: [],
      granularity: 'function',
      writeOnly: true,
      readOnly: true,
      interruptIsolation: false,
      faultRecords: true,
      faultInterrupt: true,
      coherent: unit.coherent,
      invalidateOnMap: unit.cachingMode,
      dirtyBits: false,
      // Id 0 tags what a unit in caching mode caches of absent entries.
      tables: domains - 1,
    }
  }

  enable(): number {
    if (this.#queue !== null) throw new StateError('VT-d driver', 'enabled twice')
    const status = this.#enable()
    if (status !== DriverStatus.ok) this.#release()
    return status
  }

  disable(): void {
    this.#command(GlobalCommand.translation, false)
    if (this.#queue !== null) this.#queue.complete()
    this.#command(GlobalCommand.queue, false)
    this.#release()
  }

  groupOf(requester: number): number {
    return requester
  }

  createTable(addressBits: number): number {
    const levels = (addressBits - 12) / 9
    if (!this.capabilities.tableWidths.includes(addressBits)) return DriverStatus.unsupported
    const recycled = this.#freeDomains.length > 0
    if (!recycled && this.#nextDomain > this.capabilities.tables) return DriverStatus.noTable
    const table = recycled ? this.#freeDomains.at(-1)! : this.#nextDomain
    const status = this.tables.create(table, levels)
    if (status !== DriverStatus.ok) return status
    this.beyond[table] = -1 << (addressBits - 32)
    if (recycled) this.#freeDomains.pop()
    else this.#nextDomain++
    return table
  }

  destroyTable(table: number): number {
    this.#mustExist(table)
    if (this.requesters[table] !== 0)
      throw new StateError(`IOMMU table ${table}`, 'destroyed while a device is attached')
    const queued = this.queueTableInvalidation(table)
    const status = queued === DriverStatus.ok ? this.completeInvalidations() : queued
    if (status !== DriverStatus.ok) return status
    this.tables.destroy(table)
    this.beyond[table] = -1
    this.#freeDomains.push(table)
    return DriverStatus.ok
  }

  attach(requester: number, table: number): number {
    this.#mustExist(table)
    const bus = requester >>> 8
    if (this.#contexts[bus]! < 0 && !this.#addContextTable(bus)) return DriverStatus.noMemory
    const root = this.tables.root(table)
    const upper = (table << ContextEntry.domainShift) | (this.tables.levels(table) - 2)
    return this.#setContext(requester, table, 0, upper, root >>> 20, (root << 12) | ContextEntry.present)
  }

  block(requester: number): number {
    if (this.#attached[requester] === 0) return DriverStatus.ok
    return this.#setContext(requester, 0, 0, 0, 0, 0)
  }

  map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number, exact4k = false): number {
    if (!this.#fits(table, hi, lo, pages)) return DriverStatus.unsupported
    const rights = (access & Access.read ? PageEntry.read : 0) | (access & Access.write ? PageEntry.write : 0)
    if (rights === 0) return DriverStatus.unsupported
    const status = this.#map(table, hi, lo, mfn, pages, rights, exact4k)
    if (status !== DriverStatus.noMemory || this.reclaim(table) <= 0) return status
    return this.#map(table, hi, lo, mfn, pages, rights, exact4k)
  }

  unmap(table: number, hi: number, lo: number, pages: number): number {
    if (!this.#fits(table, hi, lo, pages)) return DriverStatus.unsupported
    const retired = this.tables.retired.length
    const status = this.tables.unmapRange(table, hi, lo, pages)
    // Pages that left the tree wait for this, whether or not the caller asks for the range.
    if (this.tables.retired.length > retired) return this.queueInvalidation(table, hi, lo, pages)
    return status
  }

  queueInvalidation(table: number, hi: number, lo: number, pages: number): number {
    if (this.#rangeTable !== 0) {
      if (
        this.#rangeTable === table &&
        this.#rangeHi === hi &&
        (lo - this.#rangeLo) >>> 12 === this.#rangePages &&
        this.#rangePages < JOINED
      ) {
        this.#rangePages += pages
        return DriverStatus.ok
      }
      const status = this.#queueRange()
      if (status !== DriverStatus.ok) return status
    }
    this.#rangeTable = table
    this.#rangeHi = hi
    this.#rangeLo = lo
    this.#rangePages = pages
    return DriverStatus.ok
  }

  queueTableInvalidation(table: number): number {
    if (this.#rangeTable === table) this.#rangeTable = 0
    return this.#on().translations(Granularity.domain, table, 0, 0, 0, false)
  }

  completeInvalidations(): number {
    const queued = this.#queueRange()
    const status = queued === DriverStatus.ok ? this.#on().complete() : queued
    if (status !== DriverStatus.ok) return status
    const { retired } = this.tables
    while (retired.length > 0) this.port.freePage(retired.pop()!)
    this.tables.changedDirectories = false
    return DriverStatus.ok
  }

  frameOf(table: number, hi: number, lo: number): number {
    return this.tables.frameOf(table, hi, lo)
  }

  accessOf(table: number, hi: number, lo: number): number {
    const rights = this.tables.rightsOf(table, hi, lo)
    return (rights & PageEntry.read ? Access.read : 0) | (rights & PageEntry.write ? Access.write : 0)
  }

  tablePages(table: number): number {
    return this.tables.pages[table]!
  }

  reclaim(table: number): number {
    this.#mustExist(table)
    const count = this.tables.retireEmpty(table)
    if (count === 0) return 0
    const queued = this.queueTableInvalidation(table)
    const status = queued === DriverStatus.ok ? this.completeInvalidations() : queued
    return status === DriverStatus.ok ? count : status
  }

  drainFaults(each: (fault: IommuFault) => void): void {
    const port = this.port
    const fault = this.#fault
    const status = port.read32(this.base + Register.faultStatus)
    fault.lostBefore = false
    const records = this.unit.faultRecords
    let index = (status >>> FaultStatus.indexShift) & 0xff
    for (let seen = 0; seen < records && (status & FaultStatus.pending) !== 0; seen++) {
      const at = this.base + this.unit.faultRecordOffset + index * FAULT_RECORD_BYTES
      const top = port.read32(at + 12)
      if ((top & FaultRecord.fault) === 0) break
      fault.requester = port.read32(at + 8) & FaultRecord.sourceMask
      fault.lo = port.read32(at) | 0
      fault.hi = port.read32(at + 4) | 0
      fault.write = (top & FaultRecord.read) === 0
      fault.hardwareReason = top & FaultRecord.reasonMask
      port.write32(at + 12, FaultRecord.fault)
      index = (index + 1) % records
      // A lost fault came after every record that was there when it was lost: it precedes the last of them at the earliest.
      fault.lostBefore = (status & FaultStatus.overflow) !== 0 && seen === records - 1
      each(fault)
    }
    if ((status & FaultStatus.overflow) !== 0) port.write32(this.base + Register.faultStatus, FaultStatus.overflow)
  }

  mapInterrupt(): number {
    return DriverStatus.unsupported
  }

  unmapInterrupt(): number {
    return DriverStatus.unsupported
  }

  setFaultInterrupt(addressLow: number, data: number): void {
    const port = this.port
    port.write32(this.base + Register.faultEventData, data)
    port.write32(this.base + Register.faultEventAddress, addressLow)
    port.write32(this.base + Register.faultEventUpperAddress, 0)
    port.write32(this.base + Register.faultEventControl, 0)
  }

  ownFrames(): number[] {
    const frames = [this.#rootTable, ...this.#contexts].filter((mfn) => mfn >= 0)
    if (this.#queue !== null) frames.push(this.#queue.frame, this.#queue.statusFrame)
    for (let table = 1; table < this.#nextDomain; table++) {
      if (this.tables.exists(table)) this.tables.eachPage(table, (mfn) => frames.push(mfn))
    }
    return [...frames, ...this.tables.retired]
  }

  #on(): DriverQueue {
    if (this.#queue === null) throw new StateError('VT-d driver', 'used before it was enabled')
    return this.#queue
  }

  #enable(): number {
    const port = this.port
    const base = this.base
    const ok = (bit: number, on: boolean) => this.#command(bit, on)
    if (!ok(GlobalCommand.translation, false) || !ok(GlobalCommand.queue, false)) return DriverStatus.timedOut
    this.drainFaults(() => {})
    port.write32(base + Register.faultStatus, FaultStatus.clearable)
    const queue = port.allocatePage()
    const waitStatus = queue < 0 ? -1 : port.allocatePage()
    if (waitStatus < 0) {
      if (queue >= 0) port.freePage(queue)
      return DriverStatus.noMemory
    }
    this.#queue = new DriverQueue(port, base, queue, waitStatus, this.timeout)
    port.write32(base + Register.queueTail, 0)
    port.write32(base + Register.queueAddress, queue << 12)
    port.write32(base + Register.queueAddress + 4, queue >>> 20)
    if (!ok(GlobalCommand.queue, true)) return DriverStatus.timedOut
    this.#rootTable = port.allocatePage()
    if (this.#rootTable < 0) return DriverStatus.noMemory
    if (this.unit.writeBufferFlush && !ok(GlobalCommand.writeBuffer, true)) return DriverStatus.timedOut
    port.write32(base + Register.rootTable, this.#rootTable << 12)
    port.write32(base + Register.rootTable + 4, this.#rootTable >>> 20)
    if (!ok(GlobalCommand.rootTable, true)) return DriverStatus.timedOut
    // Contexts first: a translation could otherwise be cached anew under an old context.
    this.#queue.contexts(Granularity.global, 0, 0)
    this.#queue.translations(Granularity.global, 0, 0, 0, 0, false)
    const status = this.#queue.complete()
    if (status !== DriverStatus.ok) return status
    return ok(GlobalCommand.translation, true) ? DriverStatus.ok : DriverStatus.timedOut
  }

  // One global command, repeated with the state of the others, and its completion: false when that does not come.
  #command(bit: number, on: boolean): boolean {
    const port = this.port
    const status = port.read32(this.base + Register.globalStatus) & GlobalCommand.persistent
    port.write32(this.base + Register.globalCommand, on ? status | bit : status & ~bit)
    // The write buffer's bit is 1 while the flush runs; every other one shows the state.
    const wanted = bit === GlobalCommand.writeBuffer ? 0 : on ? bit : 0
    const deadline = port.now() + this.timeout
    while ((port.read32(this.base + Register.globalStatus) & bit) !== wanted) {
      if (port.now() > deadline) return false
      port.relax()
    }
    return true
  }

  #release(): void {
    const port = this.port
    for (let table = 1; table < this.#nextDomain; table++) if (this.tables.exists(table)) this.tables.destroy(table)
    const { retired } = this.tables
    while (retired.length > 0) port.freePage(retired.pop()!)
    for (let bus = 0; bus < 256; bus++) if (this.#contexts[bus]! >= 0) port.freePage(this.#contexts[bus]!)
    if (this.#rootTable >= 0) port.freePage(this.#rootTable)
    if (this.#queue !== null) {
      port.freePage(this.#queue.frame)
      port.freePage(this.#queue.statusFrame)
    }
    this.#contexts.fill(-1)
    this.#attached.fill(0)
    this.requesters.fill(0)
    this.#freeDomains.length = 0
    this.#nextDomain = 1
    this.#rangeTable = 0
    this.#rootTable = -1
    this.#queue = null
  }

  #addContextTable(bus: number): boolean {
    const port = this.port
    const frame = port.allocatePage()
    if (frame < 0) return false
    this.#contexts[bus] = frame
    port.store128(this.#rootTable, bus * 2, frame >>> 20, (frame << 12) | RootEntry.present, 0, 0)
    port.flushLine(this.#rootTable, bus * 2)
    return true
  }

  // Replaces a context entry in one store, then makes the unit forget the old one and all that it translated: contexts first.
  #setContext(requester: number, table: number, upperHi: number, upperLo: number, hi: number, lo: number): number {
    const port = this.port
    const frame = this.#contexts[requester >>> 8]!
    const index = (requester & 0xff) * 2
    const old = this.#attached[requester]!
    port.store128(frame, index, hi, lo, upperHi, upperLo)
    port.flushLine(frame, index)
    if (old !== 0) this.requesters[old]!--
    if (table !== 0) this.requesters[table]!++
    this.#attached[requester] = table
    if (this.unit.writeBufferFlush && !this.#command(GlobalCommand.writeBuffer, true)) return DriverStatus.timedOut
    // An absent entry is not cached, unless the unit is in caching mode: there it is tagged with id 0.
    if (old === 0 && !this.unit.cachingMode) return DriverStatus.ok
    let status = this.#on().contexts(Granularity.device, old, requester)
    if (status === DriverStatus.ok) status = this.queueTableInvalidation(old === 0 ? table : old)
    return status === DriverStatus.ok ? this.completeInvalidations() : status
  }

  #map(table: number, hi: number, lo: number, mfn: number, pages: number, rights: number, exact4k: boolean): number {
    return pages === 1
      ? this.tables.mapPage(table, hi, lo, mfn, rights)
      : this.tables.mapRange(table, hi, lo, mfn, pages, rights, exact4k)
  }

  #fits(table: number, hi: number, lo: number, pages: number): boolean {
    const beyond = this.beyond[table]!
    if ((hi & beyond) !== 0) return false
    return pages === 1 || (hi >>> 0) * 0x10_0000 + (lo >>> 12) + pages <= (-beyond >>> 0) * 0x10_0000
  }

  #mustExist(table: number): void {
    if (!this.tables.exists(table)) throw new StateError(`IOMMU table ${table}`, 'does not exist')
  }

  // Turns the gathered range into one or two descriptors of naturally aligned blocks, or one for the whole table.
  #queueRange(): number {
    const table = this.#rangeTable
    if (table === 0) return DriverStatus.ok
    this.#rangeTable = 0
    if (this.#rangePages === 1) {
      const plain = this.pageInvalidation && !this.tables.changedDirectories
      return plain
        ? this.#on().page(table, this.#rangeHi, this.#rangeLo)
        : this.#queueBlock(table, this.#rangeHi, this.#rangeLo, 0)
    }
    const first = (this.#rangeHi >>> 0) * 0x10_0000 + (this.#rangeLo >>> 12)
    const last = first + this.#rangePages - 1
    const order = coveringOrder(first, last)
    if (order <= 1 || 2 ** order <= 2 * (last - first + 1)) return this.#queuePages(table, first, order)
    // Both halves on the sides of the highest border inside the range are covered by blocks of less than twice their size.
    const border = Math.floor(last / 2 ** (order - 1)) * 2 ** (order - 1)
    const status = this.#queuePages(table, first, coveringOrder(first, border - 1))
    return status === DriverStatus.ok ? this.#queuePages(table, border, coveringOrder(border, last)) : status
  }

  #queuePages(table: number, page: number, order: number): number {
    const start = Math.floor(page / 2 ** order) * 2 ** order
    return this.#queueBlock(table, Math.floor(start / 0x10_0000) | 0, (start % 0x10_0000) << 12, order)
  }

  #queueBlock(table: number, hi: number, lo: number, order: number): number {
    if (!this.pageInvalidation || order > this.unit.maxOrder)
      return this.#on().translations(Granularity.domain, table, 0, 0, 0, false)
    return this.#on().translations(Granularity.page, table, hi, lo, order, !this.tables.changedDirectories)
  }
}

/** Ranges are joined up to here, so that their length in bytes stays far below 2^32. */
const JOINED = 0x1_0000

/** log2 of the smallest naturally aligned block of pages that holds both `first` and `last`. */
function coveringOrder(first: number, last: number): number {
  let order = 0
  while (first !== last) {
    first = Math.floor(first / 2)
    last = Math.floor(last / 2)
    order++
  }
  return order
}
