/**
 * One direction of the xenstore page: a ring of bytes with free-running indices. Both ends use this code; neither believes the
 * other's index before checking its distance.
 */
import type { KernelBuffer } from '../../memory/kernel-buffer.ts'

export class ByteRing {
  readonly #page: KernelBuffer
  readonly #data: number
  readonly #size: number
  readonly #producer: number
  readonly #consumer: number

  /** Offsets in `page` of the data, the producer index and the consumer index; `size` bytes of data, a power of two. */
  constructor(page: KernelBuffer, data: number, size: number, producer: number, consumer: number) {
    this.#page = page
    this.#data = data
    this.#size = size
    this.#producer = producer
    this.#consumer = consumer
  }

  /** Writes as much of `bytes` as there is room for and publishes it. How much; −1 when the indices make no sense. */
  write(bytes: Uint8Array): number {
    const page = this.#page
    const producer = page.read32(this.#producer)
    const used = (producer - page.read32(this.#consumer)) >>> 0
    if (used > this.#size) return -1
    const count = Math.min(bytes.length, this.#size - used)
    this.#pieces(producer, count, (at, done, length) => page.write(at, bytes.subarray(done, done + length)))
    page.write32(this.#producer, (producer + count) >>> 0)
    return count
  }

  /** Takes everything out. Null when the indices make no sense. */
  read(): Uint8Array | null {
    const page = this.#page
    const consumer = page.read32(this.#consumer)
    const used = (page.read32(this.#producer) - consumer) >>> 0
    if (used > this.#size) return null
    const bytes = new Uint8Array(used)
    this.#pieces(consumer, used, (at, done, length) => page.read(at, bytes.subarray(done, done + length)))
    page.write32(this.#consumer, (consumer + used) >>> 0)
    return bytes
  }

  #pieces(index: number, count: number, each: (at: number, done: number, length: number) => void): void {
    for (let done = 0; done < count;) {
      const at = (index + done) & (this.#size - 1)
      const length = Math.min(count - done, this.#size - at)
      each(this.#data + at, done, length)
      done += length
    }
  }
}
