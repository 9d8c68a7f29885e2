/**
 * The driver of an AMD-Vi unit with host page tables. It touches memory and registers through its {@link DriverPort} only, so it drives
 * our hardware model, QEMU's, or a unit that a hypervisor emulates. Order of operations: facts B.7.
 *
 * A table's handle is its domain id. Domain ids are given again only after everything that the unit cached under them is gone.
 */
import { StateError } from '@iospace/wire'
import {
  Access,
  DriverStatus,
  type DriverPort,
  type IommuCapabilities,
  type IommuDriver,
  type InterruptMessage,
  type IommuFault,
} from '../iommu-driver.ts'
import { RadixEntries } from '../radix/entries.ts'
import { InvalidationRange } from '../radix/invalidation-range.ts'
import { RadixMapper } from '../radix/mapper.ts'
import { RadixTree } from '../radix/tree.ts'
import { RadixUnmapper } from '../radix/unmapper.ts'
import { beyondHigh } from './addresses.ts'
import type { DriverCommands } from './driver/commands.ts'
import { amdviFormat } from './driver/format.ts'
import { INTERRUPT_TABLE_ORDER } from './driver/interrupt-tables.ts'
import { type AmdviDriverOptions, DriverUnit } from './driver/unit.ts'
import { widthOf } from './spec/entries.ts'

export type { AmdviDriverOptions } from './driver/unit.ts'

const DOMAINS = 0x1_0000
/** HyperTransport's interrupt range: first byte, byte behind. */
const TUNNEL = [0xfd_f800_0000, 0xfd_f900_0000] as const
/** Address of every interrupt message: that of the first CPU. */
const MESSAGE_ADDRESS = 0xfee0_0000 | 0
/** Tables of fewer levels are of no use: the unit has them all. */
const MIN_LEVELS = 3

export class AmdviDriver implements IommuDriver {
  declare readonly capabilities: IommuCapabilities
  declare private readonly port: DriverPort
  declare private readonly unit: DriverUnit
  declare private readonly tree: RadixTree
  declare private readonly mapper: RadixMapper
  declare private readonly unmapper: RadixUnmapper
  declare private readonly range: InvalidationRange
  /** Table of each requester, 0 while it is blocked; requesters of each table. */
  readonly #attached = new Uint16Array(0x1_0000)
  readonly #requesters = new Int32Array(DOMAINS)
  /** Upper halves that are beyond the width of each table: bits of them. */
  readonly #beyond = new Int32Array(DOMAINS).fill(-1)
  readonly #freeDomains: number[] = []
  #nextDomain = 1

  constructor(port: DriverPort, options: AmdviDriverOptions) {
    this.port = port
    this.unit = new DriverUnit(port, options)
    this.tree = new RadixTree(port, new RadixEntries(port, amdviFormat), DOMAINS)
    this.mapper = new RadixMapper(this.tree)
    this.unmapper = new RadixUnmapper(port, this.tree)
    this.range = new InvalidationRange({
      block: (table, hi, lo, order) => this.#on.pages(table, hi, lo, order, this.tree.changedDirectories),
    })
    const { features } = this.unit
    const widths: number[] = []
    for (let levels = MIN_LEVELS; levels <= features.levels; levels++) widths.push(widthOf(levels))
    this.capabilities = {
      kind: 'amdvi',
      pageSizes: (1 << 12) | (1 << 21) | (1 << 30),
      addressBits: widths.at(-1)!,
      tableWidths: widths,
      tableOrder: 0,
      window: { first: 0, end: Math.min(2 ** widths.at(-1)!, 2 ** 53) },
      untranslated: [TUNNEL],
      granularity: 'function',
      writeOnly: true,
      readOnly: true,
      interruptIsolation: true,
      faultRecords: true,
      faultInterrupt: true,
      coherent: true,
      invalidateOnMap: options.npCache ?? false,
      dirtyBits: features.hostDirty,
      // Id 0 is that of blocked functions.
      tables: DOMAINS - 1,
    }
  }

  enable(): number {
    if (this.unit.commands !== null) throw new StateError('AMD-Vi driver', 'enabled twice')
    const status = this.unit.switchOn()
    if (status !== DriverStatus.ok) this.unit.switchOff()
    return status
  }

  disable(): void {
    this.unit.commands?.complete()
    this.unit.switchOff()
    for (let table = 1; table < this.#nextDomain; table++) if (this.tree.exists(table)) this.tree.destroy(table)
    for (const page of this.tree.retired.splice(0)) this.port.freePage(page)
    this.#attached.fill(0)
    this.#requesters.fill(0)
    this.#beyond.fill(-1)
    this.#freeDomains.length = 0
    this.#nextDomain = 1
    this.range.forget(0)
  }

  groupOf(requester: number): number {
    return requester
  }

  createTable(addressBits: number): number {
    if (!this.capabilities.tableWidths.includes(addressBits)) return DriverStatus.unsupported
    const levels = Math.ceil((addressBits - 12) / 9)
    const recycled = this.#freeDomains.length > 0
    if (!recycled && this.#nextDomain > this.capabilities.tables) return DriverStatus.noTable
    const table = recycled ? this.#freeDomains.at(-1)! : this.#nextDomain
    const status = this.tree.create(table, levels)
    if (status !== DriverStatus.ok) return status
    this.#beyond[table] = beyondHigh(levels)
    if (recycled) this.#freeDomains.pop()
    else this.#nextDomain++
    return table
  }

  destroyTable(table: number): number {
    this.#mustExist(table)
    if (this.#requesters[table] !== 0)
      throw new StateError(`IOMMU table ${table}`, 'destroyed while a device is attached')
    const queued = this.queueTableInvalidation(table)
    const status = queued === DriverStatus.ok ? this.completeInvalidations() : queued
    if (status !== DriverStatus.ok) return status
    this.tree.destroy(table)
    this.#beyond[table] = -1
    this.#freeDomains.push(table)
    return DriverStatus.ok
  }

  attach(requester: number, table: number): number {
    this.#mustExist(table)
    const { devices } = this.unit
    if (devices === null || !devices.holds(requester)) return DriverStatus.unsupported
    devices.attach(requester, this.tree.root(table), this.tree.levels(table), table)
    // A block took them away.
    this.#remapInterrupts(requester)
    return this.#changed(requester, table)
  }

  block(requester: number): number {
    const { devices, interrupts } = this.unit
    if (devices === null) return DriverStatus.ok
    // An earlier block may not have been confirmed.
    if (this.#attached[requester] === 0 && interrupts.frame(requester) < 0) return this.completeInvalidations()
    devices.block(requester)
    return this.#changed(requester, 0)
  }

  map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number, exact4k = false): number {
    if (!this.#fits(table, hi, lo, pages)) return DriverStatus.unsupported
    const rights = access & (Access.read | Access.write)
    if (rights === 0) return DriverStatus.unsupported
    const status = this.#map(table, hi, lo, mfn, pages, rights, exact4k)
    if (status !== DriverStatus.noMemory || this.reclaim(table) <= 0) return status
    return this.#map(table, hi, lo, mfn, pages, rights, exact4k)
  }

  unmap(table: number, hi: number, lo: number, pages: number): number {
    if (!this.#fits(table, hi, lo, pages)) return DriverStatus.unsupported
    const retired = this.tree.retired.length
    const status = this.unmapper.unmapRange(table, hi, lo, pages)
    // Pages that left the tree wait for this, whether or not the caller asks for the range. See #changed.
    if (this.tree.retired.length > retired) this.queueInvalidation(table, hi, lo, pages)
    return status
  }

  queueInvalidation(table: number, hi: number, lo: number, pages: number): number {
    return this.range.add(table, hi, lo, pages)
  }

  queueTableInvalidation(table: number): number {
    this.range.forget(table)
    return this.#on.domain(table)
  }

  completeInvalidations(): number {
    const queued = this.range.flush()
    const status = queued === DriverStatus.ok ? this.#on.complete() : queued
    if (status !== DriverStatus.ok) return status
    const { retired } = this.tree
    while (retired.length > 0) this.port.freePage(retired.pop()!)
    this.tree.changedDirectories = false
    return DriverStatus.ok
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
    this.unit.events?.drain(each)
  }

  mapInterrupt(requester: number, vector: number, message: InterruptMessage): number {
    const { devices, interrupts } = this.unit
    if (devices === null || !devices.holds(requester)) return DriverStatus.unsupported
    const index = interrupts.add(requester, vector)
    if (index < 0) return index
    this.#remapInterrupts(requester)
    const status = this.#interruptsChanged(requester)
    if (status !== DriverStatus.ok) {
      this.#withdraw(requester, index)
      return status
    }
    message.addressLow = MESSAGE_ADDRESS
    message.addressHigh = 0
    message.data = index
    return index
  }

  unmapInterrupt(requester: number, handle: number): number {
    this.#withdraw(requester, handle)
    return this.#interruptsChanged(requester)
  }

  setFaultInterrupt(addressLow: number, data: number): void {
    this.unit.setMessage(addressLow, data)
  }

  ownFrames(): number[] {
    const frames = this.unit.frames()
    for (let table = 1; table < this.#nextDomain; table++) {
      if (this.tree.exists(table)) this.tree.eachPage(table, (mfn) => frames.push(mfn))
    }
    return [...frames, ...this.tree.retired]
  }

  get #on(): DriverCommands {
    const { commands } = this.unit
    if (commands === null) throw new StateError('AMD-Vi driver', 'used before it was enabled')
    return commands
  }

  // After a change of a device table entry: makes the unit forget the old one and all that it translated, entry first.
  #changed(requester: number, table: number): number {
    const old = this.#attached[requester]!
    if (old !== 0) this.#requesters[old]!--
    if (table !== 0) this.#requesters[table]!++
    this.#attached[requester] = table
    // What finds no room in the ring is made up for by the completion, or that fails.
    this.#on.device(requester)
    if (old !== 0) this.queueTableInvalidation(old)
    return this.completeInvalidations()
  }

  #remapInterrupts(requester: number): void {
    const { devices, interrupts } = this.unit
    const frame = interrupts.frame(requester)
    if (frame >= 0) devices!.remapInterrupts(requester, frame, INTERRUPT_TABLE_ORDER)
  }

  // Blocks an interrupt; with the last one all of the device, whatever the unit has in its cache of entries.
  #withdraw(requester: number, index: number): void {
    const { devices, interrupts } = this.unit
    interrupts.clear(requester, index)
    if (interrupts.frame(requester) < 0) devices!.abortInterrupts(requester)
  }

  // After a change of interrupts: makes the unit forget the old ones, the device table entry first, which leads to them.
  #interruptsChanged(requester: number): number {
    this.#on.device(requester)
    this.#on.interrupts(requester)
    const status = this.completeInvalidations()
    if (status === DriverStatus.ok) this.unit.interrupts.settle(requester)
    return status
  }

  #map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number, exact4k: boolean): number {
    if (pages === 1) return this.mapper.mapPage(table, hi, lo, mfn, access)
    const retired = this.tree.retired.length
    const status = this.mapper.mapRange(table, hi, lo, mfn, pages, access, exact4k)
    // Tables that a larger page replaced.
    if (this.tree.retired.length > retired) this.queueInvalidation(table, hi, lo, pages)
    return status
  }

  #fits(table: number, hi: number, lo: number, pages: number): boolean {
    const beyond = this.#beyond[table]!
    if ((hi & beyond) !== 0) return false
    return (
      pages === 1 ||
      (hi >>> 0) * 0x10_0000 + (lo >>> 12) + pages <= (beyond === 0 ? 2 ** 52 : (-beyond >>> 0) * 0x10_0000)
    )
  }

  #mustExist(table: number): void {
    if (!this.tree.exists(table)) throw new StateError(`IOMMU table ${table}`, 'does not exist')
  }
}
