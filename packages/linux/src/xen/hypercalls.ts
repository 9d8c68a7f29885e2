/**
 * The gate to the hypervisor, and a page for arguments. Cold calls write a struct into the page, call, and read it back; hot ones
 * (events, grant maps, iommu_op lists) have pages of their own and write words. A kernel runs in one thread and is never
 * interrupted inside a call, so one page serves every cold one.
 */
import { CONSOLEIO, HYPERCALL, PAGE_SIZE, type HypercallName } from '@iospace/abi'
import { BoundsError, type Fields, type Struct, type ValueOf } from '@iospace/wire'
import type { KernelBuffer } from '../memory/kernel-buffer.ts'

export type HypercallGate = (nr: number, a1?: number, a2?: number, a3?: number, a4?: number, a5?: number) => number

export class Hypercalls {
  /** The raw gate: number and up to five arguments; a count, 0, or a negative errno. */
  readonly gate: HypercallGate
  readonly #page: KernelBuffer

  /** `page` is one page that only this object writes. */
  constructor(gate: HypercallGate, page: KernelBuffer) {
    this.gate = gate
    this.#page = page
  }

  /** `name(subop, pointer to value)`. OUT fields arrive in `value`. Returns the call's result. */
  call<F extends Fields>(name: HypercallName, subop: number, struct: Struct<F>, value: ValueOf<F>): number {
    this.#put(struct, value, 0)
    const result = this.gate(HYPERCALL[name], subop, this.#page.address())
    this.#take(struct, value, 0)
    return result
  }

  /** `name(pointer to value)`: domctl and its like. */
  callDirect<F extends Fields>(name: HypercallName, struct: Struct<F>, value: ValueOf<F>): number {
    this.#put(struct, value, 0)
    const result = this.gate(HYPERCALL[name], this.#page.address())
    this.#take(struct, value, 0)
    return result
  }

  /** `name(subop, pointer to array, count)`: grant_table_op. BoundsError when the values do not fit one page. */
  callList<F extends Fields>(
    name: HypercallName,
    subop: number,
    struct: Struct<F>,
    values: readonly ValueOf<F>[],
  ): number {
    const bytes = values.length * struct.size
    if (bytes > PAGE_SIZE) throw new BoundsError(`arguments of ${name}`, 0, bytes, PAGE_SIZE)
    values.forEach((value, i) => this.#put(struct, value, i * struct.size))
    const result = this.gate(HYPERCALL[name], subop, this.#page.address(), values.length)
    values.forEach((value, i) => this.#take(struct, value, i * struct.size))
    return result
  }

  /** Writes a line to the console; what does not fit a page is cut off. */
  console(text: string): void {
    const bytes = new TextEncoder().encode(text).subarray(0, PAGE_SIZE)
    if (bytes.length === 0) return
    this.#page.write(0, bytes)
    this.gate(HYPERCALL.console_io, CONSOLEIO.write, bytes.length, this.#page.address())
  }

  #put<F extends Fields>(struct: Struct<F>, value: ValueOf<F>, at: number): void {
    struct.write(this.#page.memory.view, this.#page.at(at), value)
  }

  #take<F extends Fields>(struct: Struct<F>, value: ValueOf<F>, at: number): void {
    struct.readInto(this.#page.memory.view, this.#page.at(at), value)
  }
}
