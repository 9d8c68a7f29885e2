/** Who leaves a full set of a cache whose entries stand in the order in which they were used or came, the latest first. */
import type { CacheShape } from './translation-bank.ts'

export class Replacement {
  /** A hit makes an entry the latest of its set. */
  declare readonly byUse: boolean
  declare private readonly ways: number
  declare private readonly random: boolean
  /** A xorshift generator: any, but the same in every run. */
  #state = 0x9e37_79b9 | 0

  constructor(ways: number, policy: CacheShape['replacement'] = 'lru') {
    this.byUse = policy === 'lru'
    this.ways = ways
    this.random = policy === 'random'
  }

  /** The way to give up, from 0. */
  victim(): number {
    if (!this.random) return this.ways - 1
    let state = this.#state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#state = state
    return (state >>> 0) % this.ways
  }
}
