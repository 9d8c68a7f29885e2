/** Requests that wait, in order: a ring of references, so that waiting makes no garbage. */
import { StateError } from '@iospace/wire'
import type { BlockRequest } from './block-device.ts'

export class RequestFifo {
  readonly #slots: (BlockRequest | null)[]
  #head = 0
  #count = 0

  /** At most `capacity` requests. */
  constructor(capacity: number) {
    this.#slots = Array.from({ length: capacity }, () => null)
  }

  get empty(): boolean {
    return this.#count === 0
  }

  /** StateError when it is full: its user queued without bound. */
  push(request: BlockRequest): void {
    if (this.#count === this.#slots.length)
      throw new StateError('request queue', `holds ${this.#count} requests already`)
    this.#slots[(this.#head + this.#count) % this.#slots.length] = request
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
    this.#head = (this.#head + 1) % this.#slots.length
    this.#count--
    return request
  }
}
