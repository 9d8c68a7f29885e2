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
  readonly capacity: number
  readonly stride: number
  readonly buffer: KernelBuffer
  readonly #words: Int32Array
  readonly #stride: number
  /** Word index of each page. These pages are this object's for life, so their place does not change. */
  readonly #bases: Int32Array
  readonly #aside: number
  readonly #lastWhole: number

  /** Room for `capacity` elements of `stride` bytes, a multiple of 4. StateError when memory is short. */
  constructor(memory: KernelMemory, capacity: number, stride: number) {
    const buffer = memory.allocate(capacity * stride + PAGE_SIZE)
    if (buffer === null) throw new StateError('hypercall list', `no memory for ${capacity} elements`)
    this.capacity = capacity
    this.stride = stride
    this.buffer = buffer
    this.#words = memory.platform.words
    this.#stride = stride >> 2
    this.#bases = Int32Array.from(
      { length: buffer.pages },
      (_, page) => memory.platform.frameOffset(buffer.pfn + page) >> 2,
    )
    this.#aside = this.#bases[buffer.pages - 1]!
    this.#lastWhole = PAGE_WORDS - this.#stride
  }

  /** Where the words of element `index` are to be written: an index into the memory's words. Finish with {@link close}. */
  open(index: number): number {
    const word = index * this.#stride
    const inPage = word & WORD_MASK
    return inPage <= this.#lastWhole ? this.#bases[word >> WORD_SHIFT]! + inPage : this.#aside
  }

  /** Puts an element that was composed aside where it belongs. */
  close(index: number): void {
    const word = index * this.#stride
    if ((word & WORD_MASK) > this.#lastWhole)
      for (let i = 0; i < this.#stride; i++) this.#words[this.#place(word + i)] = this.#words[this.#aside + i]!
  }

  /** Where the words of element `index` are to be read. */
  load(index: number): number {
    const word = index * this.#stride
    const inPage = word & WORD_MASK
    if (inPage <= this.#lastWhole) return this.#bases[word >> WORD_SHIFT]! + inPage
    for (let i = 0; i < this.#stride; i++) this.#words[this.#aside + i] = this.#words[this.#place(word + i)]!
    return this.#aside
  }

  /** The guest pointer to element 0. */
  get address(): number {
    return this.buffer.address()
  }

  #place(word: number): number {
    return this.#bases[word >> WORD_SHIFT]! + (word & WORD_MASK)
  }
}
