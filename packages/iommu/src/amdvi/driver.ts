/**
 * The driver of an AMD-Vi unit with host page tables. It touches memory and registers through its {@link DriverPort} only, so it drives
 * our hardware model, QEMU's, or a unit that a hypervisor emulates. Order of operations: facts B.7.
 *
 * A table's handle is its domain id. Domain ids are given again only after everything that the unit cached under them is gone.
 */
import { StateError } from '@iospace/wire'
import { Access, DriverStatus, type DriverPort, type IommuCapabilities, type IommuDriver, type IommuFault } from '../iommu-driver.ts'
import { RadixEntries } from '../radix/entries.ts'
import { InvalidationRange } from '../radix/invalidation-range.ts'
import { RadixMapper } from '../radix/mapper.ts'
import { RadixTree } from '../radix/tree.ts'
import { RadixUnmapper } from '../radix/unmapper.ts'
import { DriverCommands } from './driver/commands.ts'
import { DriverDeviceTable } from './driver/device-table.ts'
import { DriverEvents } from './driver/events.ts'
import { amdviFormat } from './driver/format.ts'
import { DEVICE_ENTRIES_PER_PAGE } from './spec/device-table.ts'
import { widthOf } from './spec/entries.ts'
import { decodeFeatures, type AmdviFeatures } from './spec/features.ts'
import { Control, MESSAGE_ENABLE, Register, RingRegister, Status } from './spec/registers.ts'
import { beyondHigh } from './walk.ts'

export interface AmdviDriverOptions {
  /** Physical address of the unit's registers. */
  readonly base: number
  /** Virtual ns to wait for a command before it counts as lost. */
  readonly timeout?: number
  /** Requester ids below this get an entry of the device table; others are blocked. Default and most: 65536. */
  readonly requesters?: number
  /** NpCache of the unit's PCI capability, which has no register: new mappings need an invalidation. */
  readonly npCache?: boolean
  /** Programs and enables the MSI of the unit's PCI function; only asked where the unit has no registers for it. */
  readonly setMessage?: (addressLow: number, data: number) => void
}

const DEFAULT_TIMEOUT = 10e6
const DOMAINS = 0x1_0000
/** Tables of fewer levels are of no use: the unit has them all. */
const MIN_LEVELS = 3

export class AmdviDriver implements IommuDriver {
  readonly capabilities: IommuCapabilities
  readonly #port: DriverPort
  readonly #base: number = 0
  readonly #timeout: number = 0
  readonly #features: AmdviFeatures
  readonly #setMessage: ((addressLow: number, data: number) => void) | null
  readonly #deviceOrder: number = 0
  readonly #tree: RadixTree
  readonly #mapper: RadixMapper
  readonly #unmapper: RadixUnmapper
  #devices: DriverDeviceTable | null = null
  #commands: DriverCommands | null = null
  #events: DriverEvents | null = null
  /** Table of each requester, 0 while it is blocked; requesters of each table. */
  readonly #attached = new Uint16Array(0x1_0000)
  readonly #requesters = new Int32Array(DOMAINS)
  /** Upper halves that are beyond the width of each table: bits of them. */
  readonly #beyond = new Int32Array(DOMAINS).fill(-1)
  readonly #freeDomains: number[] = []
  #nextDomain = 1
  readonly #range: InvalidationRange

  constructor(port: DriverPort, { base, timeout = DEFAULT_TIMEOUT, requesters = 0x1_0000, npCache = false, setMessage }: AmdviDriverOptions) {
    this.#port = port
    this.#base = base
    this.#timeout = timeout
    this.#setMessage = setMessage ?? null
    this.#features = decodeFeatures({
      featuresLow: port.read32(base + Register.features),
      featuresHigh: port.read32(base + Register.features + 4),
      features2: port.read32(base + Register.features2),
    })
    this.#deviceOrder = Math.ceil(Math.log2(Math.min(requesters, 0x1_0000) / DEVICE_ENTRIES_PER_PAGE))
    this.#tree = new RadixTree(port, new RadixEntries(port, amdviFormat), DOMAINS)
    this.#mapper = new RadixMapper(this.#tree)
    this.#unmapper = new RadixUnmapper(port, this.#tree)
    this.#range = new InvalidationRange({
      block: (table, hi, lo, order) => this.#on.pages(table, hi, lo, order, this.#tree.changedDirectories),
    })
    const widths: number[] = []
    for (let levels = MIN_LEVELS; levels <= this.#features.levels; levels++) widths.push(widthOf(levels))
    this.capabilities = {
      kind: 'amdvi',
      pageSizes: (1 << 12) | (1 << 21) | (1 << 30),
      addressBits: widths.at(-1)!,
      tableWidths: widths,
      granularity: 'function',
      writeOnly: true,
      readOnly: true,
      interruptIsolation: false,
      faultRecords: true,
      coherent: true,
      invalidateOnMap: npCache,
      dirtyBits: this.#features.hostDirty,
      // Id 0 is that of blocked functions.
      tables: DOMAINS - 1,
    }
  }

  enable(): number {
    if (this.#commands !== null) throw new StateError('AMD-Vi driver', 'enabled twice')
    const status = this.#enable()
    if (status !== DriverStatus.ok) {
      this.#setControl(0)
      this.#release()
    }
    return status
  }

  disable(): void {
    if (this.#commands !== null) this.#commands.complete()
    this.#setControl(0)
    this.#release()
  }

  createTable(addressBits: number): number {
    if (!this.capabilities.tableWidths.includes(addressBits)) return DriverStatus.unsupported
    const levels = Math.ceil((addressBits - 12) / 9)
    const recycled = this.#freeDomains.length > 0
    if (!recycled && this.#nextDomain > this.capabilities.tables) return DriverStatus.noTable
    const table = recycled ? this.#freeDomains.at(-1)! : this.#nextDomain
    const status = this.#tree.create(table, levels)
    if (status !== DriverStatus.ok) return status
    this.#beyond[table] = beyondHigh(levels)
    if (recycled) this.#freeDomains.pop()
    else this.#nextDomain++
    return table
  }

  destroyTable(table: number): number {
    this.#mustExist(table)
    if (this.#requesters[table] !== 0) throw new StateError(`IOMMU table ${table}`, 'destroyed while a device is attached')
    const queued = this.queueTableInvalidation(table)
    const status = queued === DriverStatus.ok ? this.completeInvalidations() : queued
    if (status !== DriverStatus.ok) return status
    this.#tree.destroy(table)
    this.#beyond[table] = -1
    this.#freeDomains.push(table)
    return DriverStatus.ok
  }

  attach(requester: number, table: number): number {
    this.#mustExist(table)
    const devices = this.#devices
    if (devices === null || !devices.holds(requester)) return DriverStatus.unsupported
    devices.attach(requester, this.#tree.root(table), this.#tree.levels(table), table)
    return this.#changed(requester, table)
  }

  block(requester: number): number {
    if (this.#attached[requester] === 0) return DriverStatus.ok
    this.#devices?.block(requester)
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
    const retired = this.#tree.retired.length
    const status = this.#unmapper.unmapRange(table, hi, lo, pages)
    // Pages that left the tree wait for this, whether or not the caller asks for the range.
    if (this.#tree.retired.length > retired) return this.queueInvalidation(table, hi, lo, pages)
    return status
  }

  queueInvalidation(table: number, hi: number, lo: number, pages: number): number {
    return this.#range.add(table, hi, lo, pages)
  }

  queueTableInvalidation(table: number): number {
    this.#range.forget(table)
    return this.#on.domain(table)
  }

  completeInvalidations(): number {
    const queued = this.#range.flush()
    const status = queued === DriverStatus.ok ? this.#on.complete() : queued
    if (status !== DriverStatus.ok) return status
    const { retired } = this.#tree
    while (retired.length > 0) this.#port.freePage(retired.pop()!)
    this.#tree.changedDirectories = false
    return DriverStatus.ok
  }

  frameOf(table: number, hi: number, lo: number): number {
    return this.#tree.frameOf(table, hi, lo)
  }

  accessOf(table: number, hi: number, lo: number): number {
    return this.#tree.accessOf(table, hi, lo)
  }

  tablePages(table: number): number {
    return this.#tree.pages[table]!
  }

  reclaim(table: number): number {
    this.#mustExist(table)
    const count = this.#tree.retireEmpty(table)
    if (count === 0) return 0
    const queued = this.queueTableInvalidation(table)
    const status = queued === DriverStatus.ok ? this.completeInvalidations() : queued
    return status === DriverStatus.ok ? count : status
  }

  drainFaults(each: (fault: IommuFault) => void): void {
    this.#events?.drain(each)
  }

  setFaultInterrupt(addressLow: number, data: number): void {
    const port = this.#port
    if (this.#features.messageRegisters) {
      port.write32(this.#base + Register.messageAddress, addressLow)
      port.write32(this.#base + Register.messageUpperAddress, 0)
      port.write32(this.#base + Register.messageData, data)
      port.write32(this.#base + Register.messageControl, MESSAGE_ENABLE)
    } else this.#setMessage?.(addressLow, data)
    this.#setControl(port.read32(this.#base + Register.control) | Control.eventInterrupt)
  }

  ownFrames(): number[] {
    const frames: number[] = []
    const devices = this.#devices
    if (devices !== null) for (let page = 0; page < devices.pages; page++) frames.push(devices.first + page)
    if (this.#commands !== null) frames.push(this.#commands.frame, this.#commands.statusFrame)
    if (this.#events !== null) frames.push(this.#events.frame)
    for (let table = 1; table < this.#nextDomain; table++) {
      if (this.#tree.exists(table)) this.#tree.eachPage(table, (mfn) => frames.push(mfn))
    }
    return [...frames, ...this.#tree.retired]
  }

  get #on(): DriverCommands {
    if (this.#commands === null) throw new StateError('AMD-Vi driver', 'used before it was enabled')
    return this.#commands
  }

  #enable(): number {
    const port = this.#port
    const base = this.#base
    this.#setControl(0)
    port.write32(base + Register.status, Status.clearable)
    const first = port.allocateRun(this.#deviceOrder)
    if (first < 0) return DriverStatus.noMemory
    const pages = 2 ** this.#deviceOrder
    this.#devices = new DriverDeviceTable(port, first, pages)
    const [commands, status, events] = [port.allocatePage(), port.allocatePage(), port.allocatePage()]
    if (commands < 0 || status < 0 || events < 0) {
      for (const page of [commands, status, events]) if (page >= 0) port.freePage(page)
      return DriverStatus.noMemory
    }
    this.#commands = new DriverCommands(port, base, commands, status, this.#timeout, (on) => this.#everything(on))
    this.#events = new DriverEvents(port, base, events)
    this.#write64(Register.deviceTable, first >>> 20, (first << 12) | (pages - 1))
    this.#write64(Register.commandBuffer, (commands >>> 20) | (RingRegister.minLength << RingRegister.lengthShift), commands << 12)
    this.#setControl(Control.coherent | Control.commandBuffer)
    this.#write64(Register.eventLog, (events >>> 20) | (RingRegister.minLength << RingRegister.lengthShift), events << 12)
    this.#setControl(Control.coherent | Control.commandBuffer | Control.eventLog)
    this.#setControl(Control.coherent | Control.commandBuffer | Control.eventLog | Control.enable)
    this.#everything(this.#commands)
    return this.#commands.complete()
  }

  // What a unit may have cached since it was switched on by somebody else, or lost a command: all of it.
  #everything(commands: DriverCommands): void {
    if (this.#features.invalidateAll) {
      commands.all()
      return
    }
    const requesters = this.#devices === null ? 0 : this.#devices.pages * DEVICE_ENTRIES_PER_PAGE
    for (let requester = 0; requester < requesters; requester++) {
      commands.device(requester)
      commands.interrupts(requester)
    }
    for (let domain = 0; domain < DOMAINS; domain++) commands.domain(domain)
  }

  #release(): void {
    const port = this.#port
    for (let table = 1; table < this.#nextDomain; table++) if (this.#tree.exists(table)) this.#tree.destroy(table)
    for (const frame of this.ownFrames()) port.freePage(frame)
    this.#tree.retired.length = 0
    this.#attached.fill(0)
    this.#requesters.fill(0)
    this.#beyond.fill(-1)
    this.#freeDomains.length = 0
    this.#nextDomain = 1
    this.#range.forget(0)
    this.#devices = null
    this.#commands = null
    this.#events = null
  }

  // After a change of a device table entry: makes the unit forget the old one and all that it translated, entry first.
  #changed(requester: number, table: number): number {
    const old = this.#attached[requester]!
    if (old !== 0) this.#requesters[old]!--
    if (table !== 0) this.#requesters[table]!++
    this.#attached[requester] = table
    let status = this.#on.device(requester)
    if (status === DriverStatus.ok && old !== 0) status = this.queueTableInvalidation(old)
    return status === DriverStatus.ok ? this.completeInvalidations() : status
  }

  #map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number, exact4k: boolean): number {
    if (pages === 1) return this.#mapper.mapPage(table, hi, lo, mfn, access)
    const retired = this.#tree.retired.length
    const status = this.#mapper.mapRange(table, hi, lo, mfn, pages, access, exact4k)
    // Tables that a larger page replaced.
    if (this.#tree.retired.length > retired) return this.queueInvalidation(table, hi, lo, pages)
    return status
  }

  #fits(table: number, hi: number, lo: number, pages: number): boolean {
    const beyond = this.#beyond[table]!
    if ((hi & beyond) !== 0) return false
    return pages === 1 || (hi >>> 0) * 0x10_0000 + (lo >>> 12) + pages <= (beyond === 0 ? 2 ** 52 : (-beyond >>> 0) * 0x10_0000)
  }

  #mustExist(table: number): void {
    if (!this.#tree.exists(table)) throw new StateError(`IOMMU table ${table}`, 'does not exist')
  }

  #setControl(low: number): void {
    this.#write64(Register.control, 0, low)
  }

  #write64(register: number, hi: number, lo: number): void {
    this.#port.write32(this.#base + register, lo)
    this.#port.write32(this.#base + register + 4, hi)
  }
}
