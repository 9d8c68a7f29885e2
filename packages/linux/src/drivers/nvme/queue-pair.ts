/**
 * A submission queue and its completion queue in coherent memory. Entries are written in place; one doorbell tells the controller of
 * all that were pushed. New completions are known by their phase bit.
 */
import type { CoherentBuffer } from '../../dma/backend.ts'
import type { DmaApi } from '../../dma/dma-api.ts'
import type { Registers } from '../../pci/pci-device.ts'
import { Cqe, CQE_BYTES, PHASE_SHIFT, Register, SQE_BYTES, STATUS_MASK, STATUS_SHIFT } from './spec.ts'

const SQE_WORDS = SQE_BYTES / 4
const CQE_WORDS = CQE_BYTES / 4

/** Called for each completion: command id, status without More and Do Not Retry, and the command's result. */
export type CompletionHandler = (id: number, status: number, result: number) => void

export class QueuePair {
  readonly id: number
  readonly depth: number
  readonly submissions: CoherentBuffer
  readonly completions: CoherentBuffer
  readonly #dma: DmaApi
  readonly #registers: Registers
  readonly #words: Int32Array
  /** Word index of entry 0 of each queue: at most a page each, so they lie in one piece. */
  readonly #sq: number
  readonly #cq: number
  readonly #tailDoorbell: number
  readonly #headDoorbell: number
  #tail = 0
  #rung = 0
  #head = 0
  #phase = 1

  /** Queues of `depth` entries, at most 64; null when no coherent memory is left. */
  static create(
    dma: DmaApi,
    registers: Registers,
    id: number,
    depth: number,
    doorbellStride: number,
  ): QueuePair | null {
    const submissions = dma.allocateCoherent(depth * SQE_BYTES)
    const completions = dma.allocateCoherent(depth * CQE_BYTES)
    if (submissions !== null && completions !== null)
      return new QueuePair(dma, registers, id, depth, doorbellStride, submissions, completions)
    if (submissions !== null) dma.freeCoherent(submissions)
    if (completions !== null) dma.freeCoherent(completions)
    return null
  }

  private constructor(
    dma: DmaApi,
    registers: Registers,
    id: number,
    depth: number,
    doorbellStride: number,
    submissions: CoherentBuffer,
    completions: CoherentBuffer,
  ) {
    this.id = id
    this.depth = depth
    this.submissions = submissions
    this.completions = completions
    this.#dma = dma
    this.#registers = registers
    this.#words = submissions.buffer.memory.words
    this.#sq = submissions.buffer.at(0) >>> 2
    this.#cq = completions.buffer.at(0) >>> 2
    this.#tailDoorbell = Register.doorbells + 2 * id * doorbellStride
    this.#headDoorbell = Register.doorbells + (2 * id + 1) * doorbellStride
  }

  /** Word index of the next entry, all zeros. The caller keeps count of commands: never more than `depth` − 1. */
  push(): number {
    const at = this.#sq + this.#tail * SQE_WORDS
    this.#tail = this.#tail + 1 === this.depth ? 0 : this.#tail + 1
    const words = this.#words
    // Sixteen stores cost less than a call of fill().
    for (let i = 0; i < SQE_WORDS; i++) words[at + i] = 0
    return at
  }

  /** Tells the controller of everything pushed. */
  ring(): void {
    if (this.#rung === this.#tail) return
    this.#rung = this.#tail
    this.#registers.write32(this.#tailDoorbell, this.#tail)
  }

  /** Hands every new completion to `handler`, then tells the controller how far the queue is read. */
  poll(handler: CompletionHandler): void {
    const words = this.#words
    let moved = false
    for (;;) {
      const at = this.#cq + this.#head * CQE_WORDS
      const last = words[at + Cqe.status]!
      if (((last >>> PHASE_SHIFT) & 1) !== this.#phase) break
      moved = true
      if (++this.#head === this.depth) {
        this.#head = 0
        this.#phase ^= 1
      }
      handler(last & 0xffff, (last >>> STATUS_SHIFT) & STATUS_MASK, words[at + Cqe.result]!)
    }
    if (moved) this.#registers.write32(this.#headDoorbell, this.#head)
  }

  free(): void {
    this.#dma.freeCoherent(this.submissions)
    this.#dma.freeCoherent(this.completions)
  }
}
