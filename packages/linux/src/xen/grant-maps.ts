/**
 * Pages that another domain granted, mapped for the CPU into spare slots (GNTTABOP map_grant_ref, unmap_grant_ref), in batches of
 * one hypercall each.
 */
import {
  GNTMAP,
  GNTST,
  gnttab_map_grant_ref,
  GNTTABOP,
  gnttab_unmap_grant_ref,
  HYPERCALL,
  PAGE_SIZE,
} from '@iospace/abi'
import { InvariantError } from '@iospace/wire'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import { HypercallList } from './hypercall-list.ts'
import type { HypercallGate, Hypercalls } from './hypercalls.ts'

const MAP = gnttab_map_grant_ref.words
const STATUS_SHIFT = gnttab_map_grant_ref.shifts.status
const UNMAP = gnttab_unmap_grant_ref.words
const UNMAP_STATUS_SHIFT = gnttab_unmap_grant_ref.shifts.status

export class GrantMaps {
  readonly capacity: number
  readonly #gate: HypercallGate
  readonly #words: Int32Array
  readonly #map: HypercallList
  readonly #unmap: HypercallList
  readonly #slots: Int32Array
  readonly #memory: KernelMemory
  #count = 0
  #unmapCount = 0

  /** For batches of up to `capacity` pages. */
  constructor(hypercalls: Hypercalls, memory: KernelMemory, capacity: number) {
    this.capacity = capacity
    this.#gate = hypercalls.gate
    this.#memory = memory
    this.#words = memory.platform.words
    this.#map = new HypercallList(memory, capacity, gnttab_map_grant_ref.size)
    this.#unmap = new HypercallList(memory, capacity, gnttab_unmap_grant_ref.size)
    this.#slots = new Int32Array(capacity)
  }

  begin(): void {
    this.#count = 0
  }

  /** Adds the page that `granter` granted as `ref`, for the empty slot `pfn`. */
  add(pfn: number, granter: number, ref: number, readonly: boolean): void {
    const index = this.#count++
    const words = this.#words
    const at = this.#map.open(index)
    this.#slots[index] = pfn
    words[at + MAP.host_addr] = pfn * PAGE_SIZE
    words[at + MAP.host_addr + 1] = (pfn * PAGE_SIZE) / 0x1_0000_0000
    words[at + MAP.flags] = readonly ? GNTMAP.host_map | GNTMAP.readonly : GNTMAP.host_map
    words[at + MAP.ref] = ref
    words[at + MAP.dom] = granter
    words[at + MAP.handle] = 0
    words[at + MAP.dev_bus_addr] = 0
    words[at + MAP.dev_bus_addr + 1] = 0
    this.#map.close(index)
  }

  /** Maps the batch and writes the handles: GNTST.okay, or the first failure with nothing left mapped. */
  commit(handles: Int32Array): number {
    const count = this.#count
    if (this.#gate(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, this.#map.address, count) < 0)
      return GNTST.general_error
    let failed: number = GNTST.okay
    for (let i = 0; i < count; i++) {
      const at = this.#map.load(i)
      const status = (this.#words[at + MAP.status]! << (16 - STATUS_SHIFT)) >> 16
      handles[i] = this.#words[at + MAP.handle]!
      if (status !== GNTST.okay) {
        handles[i] = -1
        if (failed === GNTST.okay) failed = status
      }
    }
    if (failed === GNTST.okay) return GNTST.okay
    this.beginUnmap()
    for (let i = 0; i < count; i++) if (handles[i] !== -1) this.addUnmap(this.#slots[i]!, handles[i]!)
    this.commitUnmap()
    return failed
  }

  beginUnmap(): void {
    this.#unmapCount = 0
  }

  addUnmap(pfn: number, handle: number): void {
    const index = this.#unmapCount++
    const words = this.#words
    const at = this.#unmap.open(index)
    words[at + UNMAP.host_addr] = pfn * PAGE_SIZE
    words[at + UNMAP.host_addr + 1] = (pfn * PAGE_SIZE) / 0x1_0000_0000
    words[at + UNMAP.dev_bus_addr] = 0
    words[at + UNMAP.dev_bus_addr + 1] = 0
    words[at + UNMAP.handle] = handle
    words[at + UNMAP.status] = 0
    this.#unmap.close(index)
  }

  /** Ends the batch's mappings. InvariantError when one was none: this kernel lost count. */
  commitUnmap(): void {
    if (this.#unmapCount === 0) return
    const result = this.#gate(HYPERCALL.grant_table_op, GNTTABOP.unmap_grant_ref, this.#unmap.address, this.#unmapCount)
    let status: number = result < 0 ? GNTST.general_error : GNTST.okay
    for (let i = 0; i < this.#unmapCount && status === GNTST.okay; i++) {
      status = (this.#words[this.#unmap.load(i) + UNMAP.status]! << (16 - UNMAP_STATUS_SHIFT)) >> 16
    }
    if (status !== GNTST.okay)
      throw new InvariantError('a kernel unmaps only grants that it mapped', `status ${status}`)
  }

  /** Gives its own memory back. */
  free(): void {
    this.#memory.free(this.#map.buffer)
    this.#memory.free(this.#unmap.buffer)
  }
}
