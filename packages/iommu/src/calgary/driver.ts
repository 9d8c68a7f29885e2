/**
 * The driver of Calgary and CalIOC2 chips. It touches memory and registers through its {@link DriverPort} only. Order of operations: Linux
 * pci-calgary_64.c; facts C.1.
 *
 * The unit tells buses apart, not functions: whoever attaches or blocks a requester moves every function behind its bridge. A bridge has one
 * flat table; “blocked” is an empty one. Nothing can be invalidated but all that a bridge knows, with its bus stopped: what is
 * queued is one such blast per bridge at {@link CalgaryDriver.completeInvalidations}, however much it was.
 */
import { StateError } from '@iospace/wire'
import {
  Access,
  DriverStatus,
  type DriverPort,
  type IommuCapabilities,
  type IommuDriver,
  type IommuFault,
} from '../iommu-driver.ts'
import { DriverBridge } from './driver/bridge.ts'
import { TceTables } from './driver/tables.ts'
import { BRIDGES_PER_CHIP, CALIOC2_DEVICE } from './spec/pci.ts'
import { SizeCode } from './spec/tce.ts'
import { CALGARY_LEGACY, CALIOC2_LEGACY, LEGACY_END } from './spec/windows.ts'

export interface CalgaryDriverOptions {
  /** Physical addresses of the chips' registers (BBARs). */
  readonly chips: readonly number[]
  /** PCI device id of their host bridges: tells Calgary from CalIOC2. */
  readonly deviceId: number
}

const BUSES = 256
/** Memory is the only limit that there is; this one is the driver's own. */
const TABLES = 1024
/** What blocked bridges have: the smallest table, empty. */
const EMPTY = 0
const REACH = 2 ** 32

export class CalgaryDriver implements IommuDriver {
  declare readonly capabilities: IommuCapabilities
  declare private readonly port: DriverPort
  declare private readonly tables: TceTables
  readonly #bridges: DriverBridge[] = []
  readonly #byBus: (DriverBridge | null)[] = Array.from({ length: BUSES }, () => null)
  /** First and last I/O page of each range that no table is asked for. */
  readonly #untranslated: readonly (readonly [number, number])[]
  readonly #fault: IommuFault = {
    requester: 0,
    hi: 0,
    lo: 0,
    write: false,
    addressValid: false,
    hardwareReason: 0,
    lostBefore: false,
  }
  #enabled = false

  constructor(port: DriverPort, { chips, deviceId }: CalgaryDriverOptions) {
    const migrates = deviceId === CALIOC2_DEVICE
    this.port = port
    this.tables = new TceTables(port, TABLES)
    for (const chip of chips)
      for (let index = 0; index < BRIDGES_PER_CHIP; index++) {
        const bridge = new DriverBridge(port, chip, index, migrates)
        this.#bridges.push(bridge)
        for (let bus = bridge.firstBus; bus <= bridge.lastBus; bus++) this.#byBus[bus] ??= bridge
      }
    const legacy = migrates ? CALIOC2_LEGACY : CALGARY_LEGACY
    const untranslated = joined([[legacy, LEGACY_END], ...this.#bridges.flatMap((bridge) => bridge.windows())])
    this.#untranslated = untranslated.map(([first, end]) => [first / 4096, end / 4096 - 1])
    const widths = Array.from({ length: SizeCode.largest + 1 }, (_, code) => SizeCode.spaceShift + code)
    this.capabilities = {
      kind: 'calgary',
      pageSizes: 1 << 12,
      addressBits: widths.at(-1)!,
      tableWidths: widths,
      tableOrder: SizeCode.pagesShift + SizeCode.largest,
      window: { first: 0, end: REACH },
      untranslated,
      granularity: 'bus',
      // The bits are separate, but software that is known never grants a write without a read.
      writeOnly: false,
      readOnly: true,
      interruptIsolation: false,
      faultRecords: true,
      faultInterrupt: false,
      coherent: false,
      invalidateOnMap: false,
      dirtyBits: false,
      tables: TABLES - 1,
    }
  }

  enable(): number {
    if (this.#enabled) throw new StateError('Calgary driver', 'enabled twice')
    const made = this.tables.create(0, EMPTY)
    if (made < 0) return made
    const taken: DriverBridge[] = []
    for (const bridge of this.#bridges) {
      taken.push(bridge)
      if (bridge.takeOver(EMPTY, this.tables.base(EMPTY), 0)) continue
      this.#release(taken)
      return DriverStatus.timedOut
    }
    this.#enabled = true
    return DriverStatus.ok
  }

  disable(): void {
    this.#release(this.#bridges)
    this.#enabled = false
  }

  groupOf(requester: number): number {
    const bridge = this.#behind(requester)
    return bridge === null ? requester & 0xff00 : bridge.firstBus << 8
  }

  createTable(addressBits: number): number {
    this.#mustBeOn()
    if (!this.capabilities.tableWidths.includes(addressBits)) return DriverStatus.unsupported
    return this.tables.create(addressBits - SizeCode.spaceShift, EMPTY + 1)
  }

  destroyTable(table: number): number {
    this.#mustExist(table)
    if (this.#bridges.some((bridge) => bridge.table === table))
      throw new StateError(`IOMMU table ${table}`, 'destroyed while a device is attached')
    // Whoever had it was pointed elsewhere by a blast; one that did not get through is made up for now.
    const status = this.completeInvalidations()
    if (status !== DriverStatus.ok) return status
    this.tables.destroy(table)
    return DriverStatus.ok
  }

  attach(requester: number, table: number): number {
    this.#mustExist(table)
    const bridge = this.#behind(requester)
    return bridge === null ? DriverStatus.unsupported : this.#point(bridge, table)
  }

  block(requester: number): number {
    this.#mustBeOn()
    const bridge = this.#behind(requester)
    // Where no bridge is, nothing comes from.
    return bridge === null ? DriverStatus.ok : this.#point(bridge, EMPTY)
  }

  /** Only 4 KiB pages: `exact4k` changes nothing. */
  map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number): number {
    this.#mustExist(table)
    if (!this.tables.reaches(table, hi, lo, pages) || this.#passes(lo >>> 12, pages)) return DriverStatus.unsupported
    if ((access & Access.read) === 0) return DriverStatus.unsupported
    this.tables.map(table, lo, mfn, pages, access & (Access.read | Access.write))
    return DriverStatus.ok
  }

  unmap(table: number, hi: number, lo: number, pages: number): number {
    this.#mustExist(table)
    if (!this.tables.reaches(table, hi, lo, pages)) return DriverStatus.unsupported
    this.tables.unmap(table, lo, pages)
    return DriverStatus.ok
  }

  queueInvalidation(table: number): number {
    return this.queueTableInvalidation(table)
  }

  queueTableInvalidation(table: number): number {
    for (const bridge of this.#bridges) if (bridge.table === table) bridge.stale = true
    return DriverStatus.ok
  }

  completeInvalidations(): number {
    this.#mustBeOn()
    let status: number = DriverStatus.ok
    for (const bridge of this.#bridges) if (bridge.stale && !bridge.blast()) status = DriverStatus.timedOut
    return status
  }

  frameOf(table: number, hi: number, lo: number): number {
    return this.tables.reaches(table, hi, lo, 1) ? this.tables.frameOf(table, lo) : -1
  }

  accessOf(table: number, hi: number, lo: number): number {
    return this.tables.reaches(table, hi, lo, 1) ? this.tables.accessOf(table, lo) : 0
  }

  tablePages(table: number): number {
    return this.tables.pages(table)
  }

  /** A flat table has no pages that it could do without. */
  reclaim(table: number): number {
    this.#mustExist(table)
    return 0
  }

  /**
   * What CSR tells: that something behind the bridge was refused, or more than one thing; neither who nor where. The requester is the group's.
   * Linux's watchdog then isolates the bus; here that is the caller's business, who can take single functions off it.
   */
  drainFaults(each: (fault: IommuFault) => void): void {
    const fault = this.#fault
    for (const bridge of this.#bridges) {
      const error = this.#enabled ? bridge.error() : 0
      if (error === 0) continue
      // First the register: what is refused from now on is recorded again.
      bridge.clearError()
      fault.requester = bridge.firstBus << 8
      fault.hardwareReason = error >>> 0
      each(fault)
    }
  }

  /** The unit raises no interrupt: its CSR has to be looked at. */
  setFaultInterrupt(): void {}

  mapInterrupt(): number {
    return DriverStatus.unsupported
  }

  unmapInterrupt(): number {
    return DriverStatus.unsupported
  }

  ownFrames(): number[] {
    return this.tables.all().flatMap((table) => this.tables.frames(table))
  }

  #behind(requester: number): DriverBridge | null {
    return this.#byBus[(requester >>> 8) & 0xff]!
  }

  // Each request sees wholly the old table or wholly the new one: TAR changes at once, with the bus stopped.
  #point(bridge: DriverBridge, table: number): number {
    if (bridge.table !== table) bridge.point(table, this.tables.base(table), this.tables.code(table))
    return bridge.stale && !bridge.blast() ? DriverStatus.timedOut : DriverStatus.ok
  }

  #passes(page: number, pages: number): boolean {
    for (const [first, last] of this.#untranslated) if (page <= last && page + pages > first) return true
    return false
  }

  #release(bridges: readonly DriverBridge[]): void {
    for (const bridge of bridges) bridge.release()
    this.tables.destroyAll()
  }

  #mustExist(table: number): void {
    if (table === EMPTY || !this.tables.exists(table)) throw new StateError(`IOMMU table ${table}`, 'does not exist')
  }

  #mustBeOn(): void {
    if (!this.#enabled) throw new StateError('Calgary driver', 'used before it was enabled')
  }
}

/** Ranges in order, without those beyond the reach of tables, overlapping ones as one. */
function joined(ranges: [number, number][]): [number, number][] {
  const result: [number, number][] = []
  for (const [first, end] of ranges.filter(([from]) => from < REACH).toSorted(([a], [b]) => a - b)) {
    const last = result.at(-1)
    if (last !== undefined && first <= last[1]) last[1] = Math.max(last[1], Math.min(end, REACH))
    else result.push([first, Math.min(end, REACH)])
  }
  return result
}
