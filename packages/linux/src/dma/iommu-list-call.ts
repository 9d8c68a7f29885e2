/** A sub-op of iommu_op that takes a list: its argument struct, filled in once, and the list's pages. */
import { DOMID, HYPERCALL, PAGE_SIZE } from '@iospace/abi'
import { StateError } from '@iospace/wire'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import { HypercallList } from '../xen/hypercall-list.ts'
import type { HypercallGate } from '../xen/hypercalls.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { iommu_op: IOMMU_OP } = HYPERCALL

/** What the structs of map, unmap, map_grant and unmap_grant have in common. */
interface ListStruct {
  readonly size: number
  readonly words: Readonly<
    Record<'size' | 'flags' | 'domid' | 'space' | 'done' | 'list.array' | 'list.count' | 'list.stride', number>
  >
}

export class IommuListCall {
  declare readonly list: HypercallList
  /** Elements written of the batch being made; the caller sets it to 0. */
  count = 0
  declare private readonly gate: HypercallGate
  declare private readonly memory: KernelMemory
  declare private readonly header: KernelBuffer
  declare private readonly op: number
  declare private readonly address: number
  readonly #words: Int32Array
  declare private readonly countAt: number
  declare private readonly doneAt: number

  /** For calls on `space` of this domain with up to `capacity` elements of `elementSize` bytes. */
  constructor(
    gate: HypercallGate,
    memory: KernelMemory,
    op: number,
    struct: ListStruct,
    flags: number,
    space: number,
    capacity: number,
    elementSize: number,
  ) {
    const header = memory.allocate(PAGE_SIZE)
    if (header === null) throw new StateError('iommu_op', 'no memory for its argument')
    this.list = new HypercallList(memory, capacity, elementSize)
    this.gate = gate
    this.memory = memory
    this.header = header
    this.op = op
    this.address = header.address()
    this.#words = memory.platform.words
    const at = header.at(0) >>> 2
    const array = this.list.address
    const { words } = struct
    this.#words[at + words.size] = struct.size
    this.#words[at + words.flags] = flags
    this.#words[at + words.domid] = DOMID.SELF
    this.#words[at + words.space] = space
    this.#words[at + words['list.array']] = array | 0
    this.#words[at + words['list.array'] + 1] = Math.floor(array / 0x1_0000_0000)
    this.#words[at + words['list.stride']] = elementSize
    this.countAt = at + words['list.count']
    this.doneAt = at + words.done
  }

  /** 0 or −errno; {@link done} tells how many took effect. */
  call(): number {
    this.#words[this.countAt] = this.count
    // A call that is refused as a whole writes nothing back.
    this.#words[this.doneAt] = 0
    return this.gate(IOMMU_OP, this.op, this.address)
  }

  /** Gives its memory back. */
  free(): void {
    this.memory.free(this.header)
    this.memory.free(this.list.buffer)
  }

  /** Elements that took effect in the last call. */
  get done(): number {
    return this.#words[this.doneAt]!
  }
}
