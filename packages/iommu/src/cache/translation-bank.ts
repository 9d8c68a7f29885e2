/**
 * A bounded cache of translations of one page size, tagged by domain: set-associative, least recently used out first unless its shape
 * says otherwise. It answers from itself until it is told to forget: that is what makes a forgotten invalidation visible.
 *
 * Page numbers are two words: `page` the low 32 bits, `high` the rest (16 bits: I/O addresses of up to 57 bits fit, whatever the
 * page size). An entry is four words: page above the two lowest bits, which the set implies, with the rights in their place (never 0);
 * domain (15:0) and `high` (31:16); frame word (≥ 0); unused. So a hit is three loads from one line and two compares, with no shift that
 * depends on the shape. Inside a set the order is that of use, or where hits do not count of arrival: the first way is the latest.
 */
import { ConfigError } from '@iospace/wire'
import { Replacement } from './replacement.ts'

export interface CacheShape {
  /** A power of two, at least 4. */
  readonly sets: number
  /** 0: nothing is ever kept. */
  readonly ways: number
  /** Who leaves a full set: the least recently used one (the default), the one that came first, or any. */
  readonly replacement?: 'lru' | 'fifo' | 'random'
}

const RIGHTS = 3
const WORDS = 4
/** Spreads domains over the sets: an odd number with well-mixed bits. */
const SPREAD = 0x9e37

export class TranslationBank {
  /** False until the first entry is in: a bank that is never used costs nothing to look into. */
  used = false
  /** Entries in all. */
  declare readonly capacity: number
  declare private readonly words: Int32Array
  declare private readonly setMask: number
  declare private readonly setWords: number
  declare private readonly replacement: Replacement

  constructor({ sets, ways, replacement }: CacheShape) {
    if (sets < 4 || (sets & (sets - 1)) !== 0)
      throw new ConfigError('cache sets', sets, 'is not a power of two of at least 4')
    if (!Number.isInteger(ways) || ways < 0) throw new ConfigError('cache ways', ways, 'is not a whole number')
    this.capacity = sets * ways
    this.words = new Int32Array(WORDS * sets * Math.max(1, ways))
    this.setMask = sets - 1
    this.setWords = WORDS * ways
    this.replacement = new Replacement(ways, replacement)
  }

  /** The frame word of a page of `domain` if it is here with every right of `need`; −1 otherwise. */
  find(domain: number, page: number, high: number, need: number): number {
    const words = this.words
    const at = Math.imul((page ^ Math.imul(domain, SPREAD)) & this.setMask, this.setWords)
    if (((words[at]! ^ (page | RIGHTS)) & (need | ~RIGHTS)) === 0 && words[at + 1] === (domain | (high << 16)))
      return words[at + 2]!
    return this.setWords > WORDS ? this.#findBehind(at, page | RIGHTS, domain | (high << 16), need | ~RIGHTS) : -1
  }

  /** Puts in a page, in place of what is here of it, else where nothing is, else of the entry of its set that {@link CacheShape.replacement} names. */
  insert(domain: number, page: number, high: number, rights: number, frame: number): void {
    const { setWords, words } = this
    if (setWords === 0) return
    const tag = domain | (high << 16)
    const first = Math.imul((page ^ Math.imul(domain, SPREAD)) & this.setMask, setWords)
    let place = -1
    for (let at = first; at < first + setWords; at += WORDS) {
      const found = words[at]!
      if (((found ^ page) & ~RIGHTS) === 0 && found !== 0 && words[at + 1] === tag) {
        place = at
        break
      }
      if (found === 0 && place < 0) place = at
    }
    this.#makeRoom(first, place < 0 ? first + WORDS * this.replacement.victim() : place)
    words[first] = (page & ~RIGHTS) | rights
    words[first + 1] = tag
    words[first + 2] = frame
    this.used = true
  }

  /** Forgets a page of `domain`, whatever its rights; returns its frame word or −1. */
  dropPage(domain: number, page: number, high: number): number {
    const words = this.words
    const first = Math.imul((page ^ Math.imul(domain, SPREAD)) & this.setMask, this.setWords)
    for (let at = first; at < first + this.setWords; at += WORDS) {
      const found = words[at]!
      if (((found ^ page) & ~RIGHTS) !== 0 || (found & RIGHTS) === 0 || words[at + 1] !== (domain | (high << 16)))
        continue
      words[at] = 0
      return words[at + 2]!
    }
    return -1
  }

  /**
   * Forgets the pages of `domain` that agree with (`high`:`page`) above the lowest `shift` bits (0…48: 48 is every page of it). Their
   * frame words go to `dropped` if it is given, which must hold {@link capacity}; returns how many.
   */
  dropRange(domain: number, page: number, high: number, shift: number, dropped: Int32Array | null = null): number {
    if (!this.used) return 0
    const words = this.words
    const lowMask = shift >= 32 ? 0 : -1 << shift
    const highMask = shift >= 48 ? 0 : shift >= 32 ? -1 << (shift - 32) : -1
    let count = 0
    for (let at = 0; at < words.length; at += WORDS) {
      const found = words[at]!
      const tag = words[at + 1]!
      if ((found & RIGHTS) === 0 || (tag & 0xffff) !== domain || (((tag >>> 16) ^ high) & highMask) !== 0) continue
      if (((this.#pageAt(at, found, domain) ^ page) & lowMask) !== 0) continue
      words[at] = 0
      if (dropped !== null) dropped[count] = words[at + 2]!
      count++
    }
    return count
  }

  /** Forgets everything. */
  dropAll(): void {
    if (this.used) this.words.fill(0)
    this.used = false
  }

  #findBehind(first: number, page: number, tag: number, mask: number): number {
    const words = this.words
    for (let at = first + WORDS; at < first + this.setWords; at += WORDS) {
      if (((words[at]! ^ page) & mask) !== 0 || words[at + 1] !== tag) continue
      const found = words[at]!
      const frame = words[at + 2]!
      if (!this.replacement.byUse) return frame
      this.#makeRoom(first, at)
      words[first] = found
      words[first + 1] = tag
      words[first + 2] = frame
      return frame
    }
    return -1
  }

  // Moves the entries before `last` one way back, over what is in `last`.
  #makeRoom(first: number, last: number): void {
    const words = this.words
    for (let at = last; at > first; at -= WORDS) {
      words[at] = words[at - 4]!
      words[at + 1] = words[at - 3]!
      words[at + 2] = words[at - 2]!
    }
  }

  // The two lowest bits of a page number, which its entry lacks, are those of its set.
  #pageAt(at: number, found: number, domain: number): number {
    const set = Math.floor(at / this.setWords) ^ Math.imul(domain, SPREAD)
    return (found & ~RIGHTS) | (set & RIGHTS)
  }
}
