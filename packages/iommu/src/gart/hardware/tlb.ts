/**
 * The GART TLB: single pages of the aperture, set-associative. It answers from itself until all of it is told to forget: there is no
 * other invalidation. An entry is two words: page + 1 (0: empty), frame word.
 */
import { ConfigError } from '@iospace/wire'
import { Replacement } from '../../cache/replacement.ts'
import type { CacheShape } from '../../cache/translation-bank.ts'

/** Nothing is here of the page. */
export const MISS = -1
/** Frame word of a page that leads to no RAM. */
export const NO_RAM = -2

const WORDS = 2

export class GartTlb {
  declare private readonly words: Int32Array
  declare private readonly setMask: number
  declare private readonly setWords: number
  declare private readonly replacement: Replacement

  /** One set will do, too. */
  constructor({ sets, ways, replacement }: CacheShape) {
    if (sets < 1 || (sets & (sets - 1)) !== 0) throw new ConfigError('GART TLB sets', sets, 'is not a power of two')
    if (!Number.isInteger(ways) || ways < 0) throw new ConfigError('GART TLB ways', ways, 'is not a whole number')
    this.words = new Int32Array(WORDS * sets * Math.max(1, ways))
    this.setMask = sets - 1
    this.setWords = WORDS * ways
    this.replacement = new Replacement(ways, replacement)
  }

  /** The frame word of `page` (address 39:12), or {@link MISS}. */
  find(page: number): number {
    const { words, setWords } = this
    const first = (page & this.setMask) * setWords
    if (words[first] === page + 1) return words[first + 1]!
    for (let at = first + WORDS; at < first + setWords; at += WORDS) {
      if (words[at] !== page + 1) continue
      const frame = words[at + 1]!
      if (this.replacement.byUse) this.#put(first, at, page, frame)
      return frame
    }
    return MISS
  }

  /** Puts in `page`, which must not be here. */
  insert(page: number, frame: number): void {
    const { words, setWords } = this
    if (setWords === 0) return
    const ways = setWords / WORDS
    const first = (page & this.setMask) * setWords
    let way = 0
    while (way < ways && words[first + WORDS * way] !== 0) way++
    this.#put(first, first + WORDS * (way < ways ? way : this.replacement.victim()), page, frame)
  }

  /** Forgets everything. */
  forget(): void {
    this.words.fill(0)
  }

  // The first way is the latest: those before `last` move one back, over what is in `last`.
  #put(first: number, last: number, page: number, frame: number): void {
    const { words } = this
    for (let at = last; at > first; at -= WORDS) {
      words[at] = words[at - 2]!
      words[at + 1] = words[at - 1]!
    }
    words[first] = page + 1
    words[first + 1] = frame
  }
}
