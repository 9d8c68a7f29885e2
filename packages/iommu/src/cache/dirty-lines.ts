/**
 * The dirty lines of a CPU's write-back cache, as a unit sees them that reads memory without asking caches: not at all, until they
 * are written back. A full cache writes back its oldest line, as real ones do at any time.
 */
const LINES = 8
const WORDS_PER_LINE = 16

export class DirtyLines {
  /** Lines that memory does not have yet. */
  count = 0
  declare private readonly memory: Int32Array
  /** First word index of each line; −1 when free. */
  readonly #line = new Int32Array(LINES).fill(-1)
  /** Bit n: word n of the line was stored. */
  readonly #stored = new Int32Array(LINES)
  readonly #data = new Int32Array(LINES * WORDS_PER_LINE)
  #next = 0

  /** `memory`: the words behind the cache. */
  constructor(memory: Int32Array) {
    this.memory = memory
  }

  /** Stores an 8-byte entry at word index `at` (even). */
  write(at: number, hi: number, lo: number): void {
    const slot = this.#slot(at & -WORDS_PER_LINE)
    const word = at & (WORDS_PER_LINE - 1)
    this.#stored[slot]! |= 3 << word
    this.#data[slot * WORDS_PER_LINE + word] = lo
    this.#data[slot * WORDS_PER_LINE + word + 1] = hi
  }

  /** Stores a word at word index `at`. */
  writeWord(at: number, value: number): void {
    const slot = this.#slot(at & -WORDS_PER_LINE)
    const word = at & (WORDS_PER_LINE - 1)
    this.#stored[slot]! |= 1 << word
    this.#data[slot * WORDS_PER_LINE + word] = value
  }

  /** What the CPU reads at word index `at`. */
  read(at: number): number {
    const slot = this.#find(at & -WORDS_PER_LINE)
    const word = at & (WORDS_PER_LINE - 1)
    return slot >= 0 && ((this.#stored[slot]! >>> word) & 1) !== 0
      ? this.#data[slot * WORDS_PER_LINE + word]!
      : this.memory[at]!
  }

  /** Writes the line of word index `at` back to memory. */
  writeBack(at: number): void {
    const slot = this.#find(at & -WORDS_PER_LINE)
    if (slot >= 0) this.#writeBack(slot)
  }

  writeBackAll(): void {
    for (let slot = 0; slot < LINES; slot++) if (this.#line[slot]! >= 0) this.#writeBack(slot)
  }

  // Where `line` is, or is from now on.
  #slot(line: number): number {
    const found = this.#find(line)
    if (found >= 0) return found
    const slot = this.count === 0 ? 0 : this.#next
    this.#next = (slot + 1) % LINES
    if (this.#line[slot]! >= 0) this.#writeBack(slot)
    this.#line[slot] = line
    this.count++
    return slot
  }

  #find(line: number): number {
    if (this.count === 0) return -1
    for (let slot = 0; slot < LINES; slot++) if (this.#line[slot] === line) return slot
    return -1
  }

  #writeBack(slot: number): void {
    const line = this.#line[slot]!
    for (let stored = this.#stored[slot]!; stored !== 0; stored &= stored - 1) {
      const word = 31 - Math.clz32(stored & -stored)
      this.memory[line + word] = this.#data[slot * WORDS_PER_LINE + word]!
    }
    this.#line[slot] = -1
    this.#stored[slot] = 0
    this.count--
  }
}
