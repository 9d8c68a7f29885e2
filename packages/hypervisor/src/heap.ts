/**
 * The hypervisor's own frames: scratch, shared pages, grant frames, table pages. They belong to `DOMID_XEN`, so no domain can name them in
 * a mapping. Table pages are charged to the domain that they are allocated for.
 */
import { DOMID } from '@iospace/abi'
import { PAGE_SIZE, type MachineMemory } from '@iospace/machine'
import type { FrameTable } from './frames.ts'
import { RunReserve } from './run-reserve.ts'

/** What pays for table pages. */
export interface TablePayer {
  readonly domid: number
  readonly limits: { maxTablePages: number }
  tablePages: number
}

/** What an allocation is for: names of the points at which a test can make it fail. */
export type HeapUse = 'scratch' | 'shared_info' | 'grant frame' | 'table page' | 'unit page'

export class Heap {
  declare private readonly frames: FrameTable
  declare private readonly memory: MachineMemory
  /** Frame index → who pays; only table pages. */
  readonly #payers = new Map<number, TablePayer>()
  #runs: RunReserve | null = null
  /** Who pays for the table pages that a driver allocates now; null: the hypervisor itself (root, context, queue). */
  payer: TablePayer | null = null
  /** Makes an allocation fail. */
  failpoint: ((use: HeapUse) => boolean) | null = null

  constructor(frames: FrameTable, memory: MachineMemory) {
    this.frames = frames
    this.memory = memory
  }

  /** A zeroed frame, or −1. */
  allocate(use: HeapUse): number {
    if (this.failpoint !== null && this.failpoint(use)) return -1
    return this.frames.allocate(DOMID.XEN)
  }

  /** Keeps 2^`order` frames in one piece for {@link allocateRun}; false when there is no such piece. */
  keepRuns(order: number): boolean {
    const first = this.frames.allocateRun(DOMID.XEN, order)
    if (first >= 0) this.#runs = new RunReserve(first, 2 ** order)
    return first >= 0
  }

  /** 2^`order` consecutive zeroed frames for tables, charged as {@link allocateTablePage} is; or −1. They are freed one by one. */
  allocateRun(order: number): number {
    const { payer } = this
    const pages = 2 ** order
    if (payer !== null && payer.tablePages + pages > payer.limits.maxTablePages) return -1
    if (this.failpoint !== null && this.failpoint(payer === null ? 'unit page' : 'table page')) return -1
    let first = this.#runs?.allocate(order) ?? -1
    if (first < 0) first = this.frames.allocateRun(DOMID.XEN, order)
    if (first >= 0 && payer !== null) {
      payer.tablePages += pages
      for (let i = 0; i < pages; i++) this.#payers.set(first + i, payer)
    }
    return first
  }

  free(index: number): void {
    this.frames.release(index)
  }

  /** A zeroed frame for tables, charged to {@link payer}; −1 when its quota or the memory is used up. */
  allocateTablePage(): number {
    const { payer } = this
    if (payer !== null && payer.tablePages >= payer.limits.maxTablePages) return -1
    const index = this.allocate(payer === null ? 'unit page' : 'table page')
    if (index >= 0 && payer !== null) {
      payer.tablePages++
      this.#payers.set(index, payer)
    }
    return index
  }

  freeTablePage(index: number): void {
    const payer = this.#payers.get(index)
    if (payer !== undefined) {
      payer.tablePages--
      this.#payers.delete(index)
    }
    this.memory.fill(index * PAGE_SIZE, 0, PAGE_SIZE)
    if (this.#runs?.has(index) === true) this.#runs.free(index)
    else this.frames.release(index)
  }
}
