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
  type InterruptMessage,
  type IommuFault,
} from '../iommu-driver.ts'
import { decodeCapabilities, tableWidths, type VtdCapabilities } from './spec/capabilities.ts'
import { ContextEntry, RootEntry } from './spec/entries.ts'
import { FAULT_RECORD_BYTES, FaultRecord, FaultStatus, GlobalCommand, Granularity, Register } from './spec/registers.ts'
import { INTERRUPT_TABLE_SIZE, InterruptTable } from './driver/interrupts.ts'
import { DriverQueue } from './driver/queue.ts'
import { RadixEntries } from '../radix/entries.ts'
import { InvalidationRange } from '../radix/invalidation-range.ts'
import { RadixMapper } from '../radix/mapper.ts'
import { RadixTree } from '../radix/tree.ts'
import { RadixUnmapper } from '../radix/unmapper.ts'
import { secondStageFormat } from './driver/format.ts'

export interface VtdDriverOptions {
  /** Physical address of the unit's registers. */
  readonly base: number
  /** Virtual ns to wait for a command before it counts as lost. */
  readonly timeout?: number
}

const DEFAULT_TIMEOUT = 10e6

// Constants of other modules as this module's own: those are what the compiler folds.
const { ok: OK, noMemory: NO_MEMORY, unsupported: UNSUPPORTED } = DriverStatus
const BOTH = Access.read | Access.write

export class VtdDriver implements IommuDriver {
  declare readonly capabilities: IommuCapabilities
  declare private readonly port: DriverPort
  declare private readonly base: number
  declare private readonly timeout: number
  declare private readonly unit: VtdCapabilities
  declare private readonly pageInvalidation: boolean
  /** New mappings are visible to the unit only after a flush of the chipset's write buffer; an invalidation flushes it too. */
  declare private readonly flushOnMap: boolean
  declare private readonly tree: RadixTree
  declare private readonly mapper: RadixMapper
  declare private readonly unmapper: RadixUnmapper
  declare private readonly range: InvalidationRange
  #queue: DriverQueue | null = null
  #interrupts: InterruptTable | null = null
  #rootTable = -1
  /** Context table of each bus, −1 while it has none. */
  readonly #contexts = new Int32Array(256).fill(-1)
  /** Table of each requester, 0 while it is blocked; requesters of each table. */
  readonly #attached = new Uint16Array(0x1_0000)
  declare private readonly requesters: Int32Array
  readonly #freeDomains: number[] = []
  #nextDomain = 1
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
    this.flushOnMap = unit.writeBufferFlush && !unit.cachingMode
    const domains = 2 ** unit.domainBits
    this.tree = new RadixTree(port, new RadixEntries(port, secondStageFormat(unit)), domains)
    this.mapper = new RadixMapper(this.tree)
    this.unmapper = new RadixUnmapper(port, this.tree)
    this.range = new InvalidationRange({ block: (table, hi, lo, order) => this.#queueBlock(table, hi, lo, order) })
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
      interruptIsolation: unit.interruptRemapping,
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
    if (status === DriverStatus.ok) return status
    if (this.#interrupts !== null) this.#command(GlobalCommand.interruptRemapping, false)
    this.#release()
    return status
  }

  disable(): void {
    this.#command(GlobalCommand.translation, false)
    if (this.#interrupts !== null) this.#command(GlobalCommand.interruptRemapping, false)
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
    const status = this.tree.create(table, levels)
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
    this.tree.destroy(table)
    this.beyond[table] = -1
    this.#freeDomains.push(table)
    return DriverStatus.ok
  }

  attach(requester: number, table: number): number {
    this.#mustExist(table)
    const bus = requester >>> 8
    if (this.#contexts[bus]! < 0 && !this.#addContextTable(bus)) return DriverStatus.noMemory
    const root = this.tree.root(table)
    const upper = (table << ContextEntry.domainShift) | (this.tree.levels(table) - 2)
    return this.#setContext(requester, table, 0, upper, root >>> 20, (root << 12) | ContextEntry.present)
  }

  block(requester: number): number {
    // An earlier block may not have been confirmed.
    if (this.#attached[requester] === 0) return this.completeInvalidations()
    return this.#setContext(requester, 0, 0, 0, 0, 0)
  }

  map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number, exact4k = false): number {
    if (!this.#fits(table, hi, lo, pages)) return UNSUPPORTED
    const rights = access & BOTH
    if (rights === 0) return UNSUPPORTED
    // By far the most.
    if (pages === 1 && !this.flushOnMap && this.mapper.mapPage(table, hi, lo, mfn, rights) === OK) return OK
    let status = this.#map(table, hi, lo, mfn, pages, rights, exact4k)
    if (status === NO_MEMORY && this.reclaim(table) > 0) status = this.#map(table, hi, lo, mfn, pages, rights, exact4k)
    return status === OK && this.flushOnMap ? this.#flushMapped(table, hi, lo, pages) : status
  }

  unmap(table: number, hi: number, lo: number, pages: number): number {
    if (!this.#fits(table, hi, lo, pages)) return UNSUPPORTED
    if (pages === 1 && this.unmapper.clearPage(table, hi, lo)) return OK
    const retired = this.tree.retired.length
    const status = this.unmapper.unmapRange(table, hi, lo, pages)
    // Pages that left the tree wait for this, whether or not the caller asks for the range. See #map.
    if (this.tree.retired.length > retired) this.queueInvalidation(table, hi, lo, pages)
    return status
  }

  queueInvalidation(table: number, hi: number, lo: number, pages: number): number {
    return this.range.add(table, hi, lo, pages)
  }

  queueTableInvalidation(table: number): number {
    this.range.forget(table)
    return this.#on().translations(Granularity.domain, table, 0, 0, 0, false)
  }

  completeInvalidations(): number {
    const queued = this.range.flush()
    const status = queued === OK ? this.#on().complete() : queued
    if (status !== OK) return status
    const { retired } = this.tree
    while (retired.length > 0) this.port.freePage(retired.pop()!)
    this.tree.changedDirectories = false
    return OK
  }

  frameOf(table: number, hi: number, lo: number): number {
    return this.tree.frameOf(table, hi, lo)
  }

  accessOf(table: number, hi: number, lo: number): number {
    return this.tree.accessOf(table, hi, lo)
  }

  tablePages(table: number): number {
    return this.tree.pages[table]!
  }

  reclaim(table: number): number {
    this.#mustExist(table)
    const count = this.tree.retireEmpty(table)
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

  mapInterrupt(requester: number, vector: number, message: InterruptMessage): number {
    return this.#interrupts?.map(requester, vector, message) ?? DriverStatus.unsupported
  }

  unmapInterrupt(requester: number, handle: number): number {
    return this.#interrupts?.unmap(requester, handle) ?? DriverStatus.unsupported
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
    if (this.#interrupts !== null) frames.push(this.#interrupts.frame)
    for (let table = 1; table < this.#nextDomain; table++) {
      if (this.tree.exists(table)) this.tree.eachPage(table, (mfn) => frames.push(mfn))
    }
    return [...frames, ...this.tree.retired]
  }

  #on(): DriverQueue {
    if (this.#queue === null) throw new StateError('VT-d driver', 'used before it was enabled')
    return this.#queue
  }

  #enable(): number {
    const port = this.port
    const base = this.base
    const ok = (bit: number, on: boolean) => this.#command(bit, on)
    if (!ok(GlobalCommand.translation, false) || !this.#stopInterrupts() || !ok(GlobalCommand.queue, false))
      return DriverStatus.timedOut
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
    let status = this.#queue.complete()
    if (status === DriverStatus.ok && this.unit.interruptRemapping) status = this.#remapInterrupts(this.#queue)
    if (status !== DriverStatus.ok) return status
    return ok(GlobalCommand.translation, true) ? DriverStatus.ok : DriverStatus.timedOut
  }

  // Whatever firmware left: messages of the old format are to be blocked when remapping is on again.
  #stopInterrupts(): boolean {
    const { interruptRemapping, compatibilityInterrupts } = GlobalCommand
    return (
      !this.unit.interruptRemapping ||
      (this.#command(interruptRemapping, false) && this.#command(compatibilityInterrupts, false))
    )
  }

  // Turns interrupt remapping on, with a table that blocks every message.
  #remapInterrupts(queue: DriverQueue): number {
    const { port, base, unit } = this
    const frame = port.allocatePage()
    if (frame < 0) return DriverStatus.noMemory
    const flush = this.flushOnMap ? () => this.#command(GlobalCommand.writeBuffer, true) : null
    this.#interrupts = new InterruptTable(port, queue, frame, unit.cachingMode, flush)
    queue.remapsInterrupts = true
    port.write32(base + Register.interruptTable, (frame << 12) | INTERRUPT_TABLE_SIZE)
    port.write32(base + Register.interruptTable + 4, frame >>> 20)
    if (!this.#command(GlobalCommand.interruptTable, true)) return DriverStatus.timedOut
    queue.interrupts(-1)
    const status = queue.complete()
    if (status !== DriverStatus.ok) return status
    return this.#command(GlobalCommand.interruptRemapping, true) ? DriverStatus.ok : DriverStatus.timedOut
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
    for (let table = 1; table < this.#nextDomain; table++) if (this.tree.exists(table)) this.tree.destroy(table)
    const { retired } = this.tree
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
    this.range.forget(0)
    if (this.#interrupts !== null) port.freePage(this.#interrupts.frame)
    this.#interrupts = null
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
    const flushed = !this.unit.writeBufferFlush || this.#command(GlobalCommand.writeBuffer, true)
    // An absent entry is not cached, unless the unit is in caching mode: there it is tagged with id 0. What found no room in the ring is made
    // up for by the completion, or that fails. After a flush that was not confirmed, too: nobody asks again for the old entry.
    if (old !== 0 || this.unit.cachingMode) {
      this.#on().contexts(Granularity.device, old, requester)
      this.queueTableInvalidation(old === 0 ? table : old)
    }
    const status = this.completeInvalidations()
    return flushed ? status : DriverStatus.timedOut
  }

  #map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number, exact4k: boolean): number {
    if (pages === 1) return this.mapper.mapPage(table, hi, lo, mfn, access)
    const retired = this.tree.retired.length
    const status = this.mapper.mapRange(table, hi, lo, mfn, pages, access, exact4k)
    // Tables that a larger page replaced. What finds no room in the queue is made up for by the completion.
    if (this.tree.retired.length > retired) this.queueInvalidation(table, hi, lo, pages)
    return status
  }

  // What was mapped is visible to the unit on return, or not mapped; the unit may have seen it all the same, until the next completion.
  #flushMapped(table: number, hi: number, lo: number, pages: number): number {
    if (this.#command(GlobalCommand.writeBuffer, true)) return DriverStatus.ok
    this.unmapper.unmapRange(table, hi, lo, pages)
    this.queueInvalidation(table, hi, lo, pages)
    return DriverStatus.timedOut
  }

  #fits(table: number, hi: number, lo: number, pages: number): boolean {
    const beyond = this.beyond[table]!
    if ((hi & beyond) !== 0) return false
    return pages === 1 || (hi >>> 0) * 0x10_0000 + (lo >>> 12) + pages <= (-beyond >>> 0) * 0x10_0000
  }

  #mustExist(table: number): void {
    if (!this.tree.exists(table)) throw new StateError(`IOMMU table ${table}`, 'does not exist')
  }

  // One descriptor for a naturally aligned block of pages, or for the whole table.
  #queueBlock(table: number, hi: number, lo: number, order: number): number {
    if (order === 0 && this.pageInvalidation && !this.tree.changedDirectories) return this.#on().page(table, hi, lo)
    if (!this.pageInvalidation || order > this.unit.maxOrder)
      return this.#on().translations(Granularity.domain, table, 0, 0, 0, false)
    return this.#on().translations(Granularity.page, table, hi, lo, order, !this.tree.changedDirectories)
  }
}
