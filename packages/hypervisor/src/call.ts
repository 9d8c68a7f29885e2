/**
 * One hypercall in progress: who calls, and the hypervisor's scratch that arguments are copied into, once. Scratch lies in the hypervisor's
 * own frames of machine memory, so that copying in is a bulk copy and hot handlers read words. A call that is preempted keeps its scratch:
 * nested calls (multicall, other vCPUs at a preemption point) get the next one.
 */
import type { Struct, Value } from '@iospace/wire'
import { PAGE_SIZE } from '@iospace/machine'
import type { Core } from './core.ts'
import type { Domain } from './domain.ts'
import type { UnmapBatch } from './grant-table/unmap.ts'
import { HeldRange } from './guest-memory.ts'
import type { MapBatch } from './iommu-op/map-batch.ts'

/** Bytes for an argument struct; frames of one call's scratch (log2): a page for the struct, the others for lists. */
export const ARGUMENT_BYTES = PAGE_SIZE
const SCRATCH_ORDER = 4
/** Bytes for the elements of a list. */
export const LIST_BYTES = (2 ** SCRATCH_ORDER - 1) * PAGE_SIZE

/** Most elements of an iommu_op's list, and the bytes that an element may grow to in later versions. */
export const MAX_BATCH = 1024
export const MAX_ATOMIC = 64
export const MAX_STRIDE = 4096

/** The list of an iommu_op: elements of the version 1 size stand behind one another at `listAt`. */
export class OpenList {
  count = 0
  stride = 0
  /** 1 by element: bytes that this version does not know are not zero. Meaningful where the stride is larger than the element. */
  readonly tails = new Uint8Array(MAX_BATCH)

  /** Whether element `i` has such a tail. */
  unknownTail(i: number, elementSize: number): boolean {
    return this.stride !== elementSize && this.tails[i] === 1
  }
}

export class Call {
  declare readonly core: Core
  /** Byte offsets of the argument and of the list in the flat memory. */
  declare readonly at: number
  declare readonly listAt: number
  /** What is held of guest memory for this call. */
  readonly argument = new HeldRange(ARGUMENT_BYTES)
  readonly list = new HeldRange(MAX_BATCH * MAX_STRIDE)
  readonly elements = new OpenList()
  /** Of an iommu_op `map`; made when first needed. */
  mapBatch: MapBatch | null = null
  /** Of a `GNTTABOP_unmap_grant_ref`; made when first needed. */
  unmapBatch: UnmapBatch | null = null
  declare readonly words: Int32Array
  caller!: Domain
  /** Sub-op, for the books; a domctl learns it after copy-in. */
  subop = 0

  private constructor(core: Core, scratch: number) {
    this.core = core
    this.at = scratch * PAGE_SIZE
    this.listAt = this.at + ARGUMENT_BYTES
    this.words = core.memory.words
  }

  /** A call's scratch; null when the hypervisor has no memory left for another one. */
  static make(core: Core): Call | null {
    const scratch = core.heap.allocateRun(SCRATCH_ORDER)
    return scratch < 0 ? null : new Call(core, scratch)
  }

  /** Copies the struct at guest `pointer` in and decodes it; null where a page is missing, or read-only and `writable` is wanted. */
  read<S extends Struct>(struct: S, pointer: number, writable = false): Value<S> | null {
    const { core, caller } = this
    if (writable && !core.guest.writable(caller.p2m, pointer, struct.size)) return null
    if (!core.guest.copyIn(caller.p2m, pointer, this.at, struct.size)) return null
    return struct.read(core.memory.view, this.at) as Value<S>
  }

  /** Encodes `value` and copies it out to guest `pointer`; false where that cannot be written. */
  write<S extends Struct>(struct: S, pointer: number, value: Value<S>): boolean {
    const { core, caller } = this
    struct.write(core.memory.view, this.at, value as never)
    return core.guest.copyOut(caller.p2m, this.at, pointer, struct.size)
  }

  /** A u64 of a guest array as a number (rounded above 2^53); −1 where the page is missing. */
  readU64(pointer: number): number {
    const { core, caller, words } = this
    if (!core.guest.copyIn(caller.p2m, pointer, this.listAt, 8)) return -1
    return (words[(this.listAt >>> 2) + 1]! >>> 0) * 0x1_0000_0000 + (words[this.listAt >>> 2]! >>> 0)
  }

  writeU64(pointer: number, value: number): boolean {
    const { core, caller, words } = this
    words[this.listAt >>> 2] = value | 0
    words[(this.listAt >>> 2) + 1] = Math.floor(value / 0x1_0000_0000)
    return core.guest.copyOut(caller.p2m, this.listAt, pointer, 8)
  }

  writeI32(pointer: number, value: number): boolean {
    const { core, caller, words } = this
    words[this.listAt >>> 2] = value
    return core.guest.copyOut(caller.p2m, this.listAt, pointer, 4)
  }

  /** The call is over: lets go of what it held. */
  finish(): void {
    this.argument.drop(this.core.frames)
    this.list.drop(this.core.frames)
  }
}
