/**
 * The driver of the K8 GART. It touches memory through its {@link DriverPort} and the northbridges' configuration space, nothing
 * else. Order of operations: facts D.
 *
 * A GART remaps, it does not protect: one table for every device, no rights in it, and what lies outside the aperture is reached as it
 * is. So {@link GartDriver.block} cannot keep anybody out, any requester may be attached, and a page that is not mapped leads
 * to a scratch page that all devices share.
 */
import { ConfigError, InvariantError, StateError } from '@iospace/wire'
import type { ConfigAccess } from '../config-access.ts'
import {
  Access,
  DriverStatus,
  type DriverPort,
  type IommuCapabilities,
  type IommuDriver,
  type IommuFault,
} from '../iommu-driver.ts'
import { DriverNodes } from './driver/nodes.ts'
import { DriverTable } from './driver/table.ts'
import { ENTRIES_PER_PAGE, FRAME_END } from './spec/entries.ts'

export interface GartDriverOptions {
  /** Bus, device and function numbers of function 3 of every node, node 0 first. */
  readonly nodes: readonly number[]
  readonly config: ConfigAccess
  /** Virtual ns to wait for an invalidation before it counts as lost. */
  readonly timeout?: number
  /** Bytes of RAM from address 0: an aperture that begins below is not used. */
  readonly ramEnd?: number
  /**
   * What becomes of accesses to pages of the aperture that are not mapped. `scratch`: they work, on a page that nobody uses, as in Linux.
   * `fail`: they do nothing, and set GartPteErr; the entry still names that page.
   */
  readonly unmapped?: 'scratch' | 'fail'
}

const DEFAULT_TIMEOUT = 10e6
/** The only table that there is. */
const TABLE = 1

export class GartDriver implements IommuDriver {
  declare readonly capabilities: IommuCapabilities
  /** Nodes that {@link drainFaults} found with a failed table walk, so far. */
  walkErrors = 0
  declare private readonly port: DriverPort
  declare private readonly nodes: DriverNodes
  declare private readonly validGuard: boolean
  /** Requesters that were attached and not blocked since. */
  readonly #attached = new Set<number>()
  #table: DriverTable | null = null
  #created = false
  /** Something changed since the last completed invalidation. */
  #pending = false

  constructor(port: DriverPort, { nodes, config, timeout, ramEnd, unmapped }: GartDriverOptions) {
    if (nodes.length === 0) throw new ConfigError('GART nodes', 0, 'is no northbridge at all')
    this.port = port
    this.nodes = new DriverNodes(port, config, nodes, timeout ?? DEFAULT_TIMEOUT, ramEnd ?? 0)
    this.validGuard = unmapped !== 'fail'
    const first = this.nodes.firstPage * 4096
    const end = first + this.nodes.pages * 4096
    const addressBits = 32
    this.capabilities = {
      kind: 'gart',
      pageSizes: 1 << 12,
      addressBits,
      tableWidths: [addressBits],
      tableOrder: Math.log2(Math.max(1, this.nodes.pages / ENTRIES_PER_PAGE)),
      window: { first, end },
      untranslated: [],
      granularity: 'none',
      writeOnly: false,
      readOnly: false,
      interruptIsolation: false,
      faultRecords: false,
      faultInterrupt: false,
      coherent: false,
      // A cached guard outlives the mapping that takes its place.
      invalidateOnMap: true,
      dirtyBits: false,
      tables: 1,
    }
  }

  /** As in {@link IommuDriver}; unsupported where firmware left no aperture below 4 GiB that covers no RAM. */
  enable(): number {
    if (this.#table !== null) throw new StateError('GART driver', 'enabled twice')
    const { pages } = this.nodes
    if (pages === 0) return DriverStatus.unsupported
    const first = this.port.allocateRun(this.capabilities.tableOrder)
    if (first < 0) return DriverStatus.noMemory
    const scratch = this.port.allocatePage()
    if (scratch < 0 || scratch >= FRAME_END || first + pages / ENTRIES_PER_PAGE > FRAME_END) {
      if (scratch >= 0) this.port.freePage(scratch)
      for (let i = 0; i < pages / ENTRIES_PER_PAGE; i++) this.port.freePage(first + i)
      return DriverStatus.noMemory
    }
    this.#table = new DriverTable(this.port, first, pages, scratch, this.validGuard)
    this.nodes.switchOn(first)
    const status = this.nodes.flush()
    if (status !== DriverStatus.ok) {
      this.nodes.switchOff()
      this.#release()
    }
    return status
  }

  disable(): void {
    this.nodes.switchOff()
    // Writes that went through the table have landed after it.
    this.nodes.flush()
    this.#release()
  }

  /** After a sleep that lost the registers: programs them as {@link enable} did, with the table as it is. ok or timedOut. */
  resume(): number {
    this.nodes.switchOn(this.#on.first)
    return this.nodes.flush()
  }

  groupOf(): number {
    return 0
  }

  createTable(addressBits: number): number {
    if (!this.capabilities.tableWidths.includes(addressBits)) return DriverStatus.unsupported
    if (this.#table === null) throw new StateError('GART driver', 'used before it was enabled')
    if (this.#created) return DriverStatus.noTable
    this.#created = true
    return TABLE
  }

  destroyTable(table: number): number {
    this.#mustExist(table)
    if (this.#attached.size > 0) throw new StateError(`IOMMU table ${table}`, 'destroyed while a device is attached')
    this.#on.clear(0, this.nodes.pages)
    this.#pending = true
    const status = this.completeInvalidations()
    if (status === DriverStatus.ok) this.#created = false
    return status
  }

  /** Every requester reaches the one table anyhow. */
  attach(requester: number, table: number): number {
    this.#mustExist(table)
    this.#attached.add(requester)
    return DriverStatus.ok
  }

  /** Nobody can be kept out of the aperture, or of what lies outside it: the caller has to fence. */
  block(requester: number): number {
    this.#attached.delete(requester)
    return DriverStatus.unsupported
  }

  map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number): number {
    const page = this.#pageOf(table, hi, lo, pages)
    if (page < 0 || access !== (Access.read | Access.write)) return DriverStatus.unsupported
    if (mfn < 0 || mfn + pages > FRAME_END) return DriverStatus.unsupported
    const on = this.#on
    const mapped = on.firstMapped(page, pages)
    if (mapped >= 0)
      throw new InvariantError(
        'a range is unmapped before it is mapped',
        `0x${((this.nodes.firstPage + mapped) * 4096).toString(16)} is mapped`,
      )
    on.map(page, pages, mfn)
    return DriverStatus.ok
  }

  unmap(table: number, hi: number, lo: number, pages: number): number {
    const page = this.#pageOf(table, hi, lo, pages)
    if (page < 0) return DriverStatus.unsupported
    this.#on.clear(page, pages)
    return DriverStatus.ok
  }

  queueInvalidation(table: number, _hi: number, _lo: number, _pages: number): number {
    return this.queueTableInvalidation(table)
  }

  /** There is but one invalidation: of everything. */
  queueTableInvalidation(_table: number): number {
    this.#pending = true
    return DriverStatus.ok
  }

  completeInvalidations(): number {
    if (this.#table === null) throw new StateError('GART driver', 'used before it was enabled')
    if (!this.#pending) return DriverStatus.ok
    const status = this.nodes.flush()
    if (status === DriverStatus.ok) this.#pending = false
    return status
  }

  frameOf(table: number, hi: number, lo: number): number {
    const page = this.#pageOf(table, hi, lo, 1)
    return page < 0 ? -1 : this.#on.frameOf(page)
  }

  accessOf(table: number, hi: number, lo: number): number {
    return this.frameOf(table, hi, lo) < 0 ? 0 : Access.read | Access.write
  }

  tablePages(table: number): number {
    return table === TABLE && this.#created ? this.#on.frames : 0
  }

  reclaim(table: number): number {
    this.#mustExist(table)
    return 0
  }

  /** GartPteErr tells that a walk failed, but not whose or where: no record can be made of it. Counts and clears it. */
  drainFaults(_each: (fault: IommuFault) => void): void {
    if (this.#table !== null) this.walkErrors += this.nodes.takeErrors()
  }

  setFaultInterrupt(): void {}

  mapInterrupt(): number {
    return DriverStatus.unsupported
  }

  unmapInterrupt(): number {
    return DriverStatus.unsupported
  }

  /** Table and scratch page. Devices can reach them all the same, at their machine addresses. */
  ownFrames(): number[] {
    const table = this.#table
    if (table === null) return []
    return [...Array.from({ length: table.frames }, (_, i) => table.first + i), table.scratch]
  }

  #release(): void {
    for (const mfn of this.ownFrames()) this.port.freePage(mfn)
    this.#table = null
    this.#created = false
    this.#pending = false
    this.#attached.clear()
  }

  get #on(): DriverTable {
    if (this.#table === null) throw new StateError('GART driver', 'used before it was enabled')
    return this.#table
  }

  // Where a range begins, in pages of the aperture; −1 where it is not wholly inside.
  #pageOf(table: number, hi: number, lo: number, pages: number): number {
    this.#mustExist(table)
    const page = (hi >>> 0) * 0x10_0000 + (lo >>> 12) - this.nodes.firstPage
    return page >= 0 && page + pages <= this.nodes.pages ? page : -1
  }

  #mustExist(table: number): void {
    if (table !== TABLE || !this.#created) throw new StateError(`IOMMU table ${table}`, 'does not exist')
  }
}
