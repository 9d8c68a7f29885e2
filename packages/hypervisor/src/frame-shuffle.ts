/**
 * The numbers 0…n−1 in an order that the seed chooses, one at a time and without memory of its own: a full-cycle congruential sequence over
 * the next power of two (Hull and Dobell 1962), each number mixed by a bijection, numbers past the end skipped.
 */
import type { Random } from '@iospace/machine'

export class Shuffle {
  readonly #count: number
  readonly #mask: number
  readonly #shift: number
  readonly #multiplier: number
  readonly #increment: number
  #x: number
  #left: number

  constructor(count: number, random: Random) {
    const bits = Math.max(4, 32 - Math.clz32(Math.max(0, count - 1)))
    this.#count = count
    this.#mask = 2 ** bits - 1
    this.#shift = bits >> 1
    this.#multiplier = (random.next() & this.#mask & ~7) | 5
    this.#increment = (random.next() & this.#mask) | 1
    this.#x = random.next() & this.#mask
    this.#left = 2 ** bits
  }

  /** The next number, or −1 after the last. */
  next(): number {
    while (this.#left-- > 0) {
      this.#x = (Math.imul(this.#x, this.#multiplier) + this.#increment) & this.#mask
      const mixed = Math.imul(this.#x ^ (this.#x >>> this.#shift), 0x2545f491) & this.#mask
      const number = mixed ^ (mixed >>> this.#shift)
      if (number < this.#count) return number
    }
    this.#left = 0
    return -1
  }
}
