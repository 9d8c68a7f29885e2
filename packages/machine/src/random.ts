/** Seeded pseudo-random numbers (xorshift128 over a splitmix seed): the only source of chance in a machine. */
export class Random {
  readonly #state = new Uint32Array(4)

  /** Of `seed` the lowest 32 bits count. */
  constructor(seed: number) {
    let z = seed >>> 0
    for (let i = 0; i < 4; i++) {
      z = (z + 0x9e3779b9) >>> 0
      let word = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
      word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
      this.#state[i] = (word ^ (word >>> 16)) | (i === 3 ? 1 : 0)
    }
  }

  /** 32 random bits, unsigned. */
  next(): number {
    const s = this.#state
    let t = s[3]!
    const first = s[0]!
    s[3] = s[2]!
    s[2] = s[1]!
    s[1] = first
    t ^= t << 11
    t ^= t >>> 8
    s[0] = t ^ first ^ (first >>> 19)
    return s[0]!
  }

  /** A whole number in [0, `bound`). */
  below(bound: number): number {
    return Math.floor((this.next() / 0x1_0000_0000) * bound)
  }

  /** Shuffles `list` in place and returns it. */
  shuffle<T extends { length: number; [index: number]: unknown }>(list: T): T {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const kept = list[i]
      list[i] = list[j]
      list[j] = kept
    }
    return list
  }

  /** A new, independent generator: drawing from it leaves this one's sequence as it was but for one draw. */
  fork(): Random {
    return new Random(this.next())
  }
}
