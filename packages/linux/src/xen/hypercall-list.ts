/**
 * A list of hypercall elements in pages of its own, preallocated: hot callers write words, not structs. The pages are contiguous for
 * the hypervisor (guest pointers) and scattered in memory, so an element that crosses a page edge is composed aside and copied in.
 */
import { PAGE_SIZE } from '@iospace/abi'
import { StateError } from '@iospace/wire'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'
import type { KernelMemory } from '../memory/kernel-memory.ts'

const PAGE_WORDS = PAGE_SIZE / 4
const WORD_MASK = PAGE_WORDS - 1
const WORD_SHIFT = 10

export class HypercallList {
  declare readonly capacity: number
  /** Bytes of an element. */
  declare readonly stride: number
  declare readonly buffer: KernelBuffer
  /**
   * By element: index of its first word in the memory's words, or −1 for one that crosses a page edge ({@link open}, {@link load}).
   * These pages are this object's for life, so their place does not change.
   */
  declare readonly at: Int32Array
  declare private readonly words: Int32Array
  declare private readonly bases: Int32Array
  declare private readonly aside: number

  /** Room for `capacity` elements of `stride` bytes, a multiple of 4. StateError when memory is short. */
  constructor(memory: KernelMemory, capacity: number, stride: number) {
    const buffer = memory.allocate(capacity * stride + PAGE_SIZE)
    if (buffer === null) throw new StateError('hypercall list', `no memory for ${capacity} elements`)
    this.capacity = capacity
    this.stride = stride
    this.buffer = buffer
    this.words = memory.platform.words
    this.bases = Int32Array.from(
      { length: buffer.pages },
      (_, page) => memory.platform.frameOffset(buffer.pfn + page) >>> 2,
    )
    this.aside = this.bases[buffer.pages - 1]!
    const lastWhole = PAGE_WORDS - stride / 4
    this.at = Int32Array.from({ length: capacity }, (_, index) => {
      const word = (index * stride) / 4
      return (word & WORD_MASK) <= lastWhole ? this.#place(word) : -1
    })
  }

  /** Where to write the words of element `index`; finish with {@link close}. */
  open(index: number): number {
    const at = this.at[index]!
    return at >= 0 ? at : this.aside
  }

  /** Puts an element that was composed aside where it belongs. */
  close(index: number): void {
    if (this.at[index]! < 0) this.#scatter(index)
  }

  /** Where to read the words of element `index`, until the next call of anything here. */
  load(index: number): number {
    const at = this.at[index]!
    return at >= 0 ? at : this.#gather(index)
  }

  /** The guest pointer to element 0. */
  get address(): number {
    return this.buffer.address()
  }

  #scatter(index: number): void {
    const word = (index * this.stride) >>> 2
    for (let i = 0; i < this.stride >> 2; i++) this.words[this.#place(word + i)] = this.words[this.aside + i]!
  }

  #gather(index: number): number {
    const word = (index * this.stride) >>> 2
    for (let i = 0; i < this.stride >> 2; i++) this.words[this.aside + i] = this.words[this.#place(word + i)]!
    return this.aside
  }

  #place(word: number): number {
    return this.bases[word >> WORD_SHIFT]! + (word & WORD_MASK)
  }
}
