/** Requests that wait, in order: a ring of references that grows when it must, so that waiting makes no garbage. */
import { StateError } from '@iospace/wire'
import type { BlockRequest } from './block-device.ts'

const FIRST_SIZE = 64

export class RequestFifo {
  #slots: (BlockRequest | null)[] = Array.from({ length: FIRST_SIZE }, () => null)
  #head = 0
  #count = 0

  get empty(): boolean {
    return this.#count === 0
  }

  push(request: BlockRequest): void {
    if (this.#count === this.#slots.length) this.#grow()
    this.#slots[(this.#head + this.#count) & (this.#slots.length - 1)] = request
    this.#count++
  }

  /** The oldest. StateError when there is none. */
  peek(): BlockRequest {
    const request = this.#slots[this.#head] ?? null
    if (request === null) throw new StateError('request queue', 'is empty')
    return request
  }

  shift(): BlockRequest {
    const request = this.peek()
    this.#slots[this.#head] = null
    this.#head = (this.#head + 1) & (this.#slots.length - 1)
    this.#count--
    return request
  }

  #grow(): void {
    const { length } = this.#slots
    this.#slots = Array.from({ length: 2 * length }, (_, i) =>
      i < length ? this.#slots[(this.#head + i) & (length - 1)]! : null,
    )
    this.#head = 0
  }
}
