/**
 * A bounded cache of what a unit knows of each requester: tag, domain with flags, and a table frame. Set-associative, least recently
 * used out first unless its shape says otherwise; it answers from itself until it is told to forget.
 */
import { ConfigError } from '@iospace/wire'
import { Replacement } from './replacement.ts'
import type { CacheShape } from './translation-bank.ts'

const PRESENT = 0x1_0000
const WORDS = 4

export class ContextCache {
  declare private readonly words: Int32Array
  declare private readonly ways: number
  declare private readonly setMask: number
  declare private readonly replacement: Replacement

  constructor({ sets, ways, replacement }: CacheShape) {
    if (sets < 1 || (sets & (sets - 1)) !== 0)
      throw new ConfigError('context cache sets', sets, 'is not a power of two')
    if (!Number.isInteger(ways) || ways < 1)
      throw new ConfigError('context cache ways', ways, 'is not a positive whole number')
    this.words = new Int32Array(WORDS * sets * ways)
    this.ways = ways
    this.setMask = sets - 1
    this.replacement = new Replacement(ways, replacement)
  }

  /** Where `requester` is, −1 when it is not here. The position is good until the next call of any method. */
  find(requester: number): number {
    const words = this.words
    const first = this.#first(requester)
    for (let at = first; at < first + WORDS * this.ways; at += WORDS) {
      if (words[at] !== (requester | PRESENT)) continue
      if (!this.replacement.byUse) return at
      if (at !== first) {
        const control = words[at + 1]!
        const table = words[at + 2]!
        this.#put(first, at, requester, control, table)
      }
      return first
    }
    return -1
  }

  /** Bits 15:0 domain, the rest as the unit likes. */
  control(at: number): number {
    return this.words[at + 1]!
  }

  table(at: number): number {
    return this.words[at + 2]!
  }

  /** Puts in `requester`, which must not be here. */
  insert(requester: number, control: number, table: number): void {
    const first = this.#first(requester)
    this.#put(first, first + WORDS * this.#victim(first), requester, control, table)
  }

  /** Forgets the entries whose requester agrees with `requester` in the bits of `mask` and, if `domain` ≥ 0, whose domain is it. */
  drop(requester: number, mask: number, domain: number): void {
    const words = this.words
    for (let at = 0; at < words.length; at += WORDS) {
      if (((words[at]! ^ requester) & mask & 0xffff) !== 0) continue
      if (domain < 0 || (words[at + 1]! & 0xffff) === domain) words[at] = 0
    }
  }

  #first(requester: number): number {
    // Functions of one bus differ in the low bits, buses in the high ones.
    return ((requester ^ (requester >>> 3) ^ (requester >>> 8)) & this.setMask) * WORDS * this.ways
  }

  // A way that is free, else the one whose turn it is.
  #victim(first: number): number {
    for (let way = 0; way < this.ways; way++) if (this.words[first + WORDS * way] === 0) return way
    return this.replacement.victim()
  }

  #put(first: number, last: number, requester: number, control: number, table: number): void {
    const words = this.words
    words.copyWithin(first + WORDS, first, last)
    words[first] = requester | PRESENT
    words[first + 1] = control
    words[first + 2] = table
  }
}
