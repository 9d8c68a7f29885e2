/**
 * The controller's one interrupt vector (NVMe 1.4 section 7.5.1, single message MSI). Its status is set while a completion queue with
 * interrupts has entries that the host has not consumed. A message is sent when the status becomes set, when the mask is lifted while it
 * is, and when the host consumes some entries but not all: so none is lost, and a busy queue does not send one per entry.
 */
import type { PciFunction } from '@iospace/machine'
import type { CompletionQueue } from './queues.ts'

export class InterruptLine {
  readonly #device: PciFunction
  #status = false
  #masked = false

  constructor(device: PciFunction) {
    this.#device = device
  }

  /** INTMS and INTMC as read: bit 0 is the vector's mask. */
  get mask(): number {
    return this.#masked ? 1 : 0
  }

  /** INTMS written. */
  maskBits(bits: number): void {
    if ((bits & 1) !== 0) this.#masked = true
  }

  /** INTMC written. */
  unmaskBits(bits: number): void {
    if ((bits & 1) === 0 || !this.#masked) return
    this.#masked = false
    this.#send()
  }

  /** An entry was posted to `queue`. */
  posted(queue: CompletionQueue): void {
    if (!queue.interrupts || this.#status) return
    this.#status = true
    this.#send()
  }

  /** The host consumed entries or deleted a queue; `queues` are all that exist. */
  consumed(queues: readonly (CompletionQueue | undefined)[]): void {
    this.#status = false
    for (const queue of queues) if (queue !== undefined && queue.interrupts && queue.used > 0) this.#status = true
    this.#send()
  }

  /** No queue is left. */
  clear(): void {
    this.#status = false
  }

  reset(): void {
    this.#status = false
    this.#masked = false
  }

  #send(): void {
    if (this.#status && !this.#masked) this.#device.interrupt()
  }
}
