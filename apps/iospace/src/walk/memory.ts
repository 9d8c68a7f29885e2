/**
 * The machine memory that a file describes: listed bytes, zeros everywhere else, and ranges where every access fails. Walkers read it as
 * they read a board's memory.
 */
import type { TableMemory } from '@iospace/iommu/walk'

/** Bytes that are kept together: the largest entry of any table, a device table entry of AMD-Vi. */
const BLOCK_SHIFT = 5n
const BLOCK_BYTES = 32
const BLOCK_MASK = 31n
const BLOCK_WORDS = 8
/** Where the words of every block begin that is not listed: zeros. */
const ZEROS = 0

/** Behind the last byte that an address of 64 bits can name. */
export const MEMORY_END = 1n << 64n

/** Bytes from `first` up to before `end`. */
export interface Range {
  readonly first: bigint
  readonly end: bigint
}

export class FileMemory implements TableMemory {
  /** Block number → index of its first word. */
  readonly #blocks = new Map<bigint, number>()
  #words = new Int32Array(1 << 12)
  #bytes = new Uint8Array(this.#words.buffer)
  /** By block, in order of their words: which of its bytes are listed. */
  #listed = new Uint32Array(this.#words.length / BLOCK_WORDS)
  #used = BLOCK_WORDS
  #absent: readonly Range[] = []
  /** Where the last access that failed was to, null since {@link forgetFailure}. */
  failedAt: bigint | null = null

  /** Little-endian words of the blocks. What is listed later may move them. */
  get words(): Int32Array {
    return this.#words
  }

  /** Lists `bytes` from `address` on. Returns how many came before one that is listed already, −1 when all are new. */
  put(address: bigint, bytes: Uint8Array): number {
    let number = address >> BLOCK_SHIFT
    let inside = Number(address & BLOCK_MASK)
    let at = this.#block(number)
    for (let i = 0; i < bytes.length; i++, inside++) {
      if (inside === BLOCK_BYTES) {
        at = this.#block(++number)
        inside = 0
      }
      const block = at / BLOCK_WORDS
      const bit = 1 << inside
      if ((this.#listed[block]! & bit) !== 0) return i
      this.#listed[block]! |= bit
      this.#bytes[at * 4 + inside] = bytes[i]!
    }
    return -1
  }

  /** From now on every access fails that touches one of `ranges`, which may overlap. */
  setAbsent(ranges: readonly Range[]): void {
    const merged: { first: bigint; end: bigint }[] = []
    for (const { first, end } of ranges.filter((range) => range.end > range.first).sort(byFirst)) {
      const last = merged.at(-1)
      if (last === undefined || first > last.end) merged.push({ first, end })
      else if (end > last.end) last.end = end
    }
    this.#absent = merged
  }

  forgetFailure(): void {
    this.failedAt = null
  }

  entryAt(mfn: number, index: number): number {
    return this.#access((BigInt(mfn) << 12n) + BigInt(index * 8), 8)
  }

  wordAt(mfn: number, index: number): number {
    return this.#access((BigInt(mfn) << 12n) + BigInt(index * 4), 4)
  }

  /** The `bytes` (4…32, inside one block) at `address` as one little-endian number. */
  value(address: bigint, bytes: number): bigint {
    const at = this.#find(address)
    let value = 0n
    for (let i = bytes / 4 - 1; i >= 0; i--) value = (value << 32n) | BigInt(this.#words[at + i]! >>> 0)
    return value
  }

  #access(address: bigint, bytes: number): number {
    if (this.#isAbsent(address, address + BigInt(bytes))) {
      this.failedAt = address
      return -1
    }
    return this.#find(address)
  }

  #find(address: bigint): number {
    const block = this.#blocks.get(address >> BLOCK_SHIFT) ?? ZEROS
    return block + (Number(address & BLOCK_MASK) >>> 2)
  }

  // The last range that begins before `end` is the only one that can reach to `first`: they are sorted and apart.
  #isAbsent(first: bigint, end: bigint): boolean {
    const ranges = this.#absent
    let low = 0
    let high = ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (ranges[middle]!.first < end) low = middle + 1
      else high = middle
    }
    return low > 0 && ranges[low - 1]!.end > first
  }

  #block(number: bigint): number {
    const known = this.#blocks.get(number)
    if (known !== undefined) return known
    const at = this.#used
    this.#used += BLOCK_WORDS
    if (this.#used > this.#words.length) this.#grow()
    this.#blocks.set(number, at)
    return at
  }

  #grow(): void {
    const words = new Int32Array(this.#words.length * 2)
    const listed = new Uint32Array(this.#listed.length * 2)
    words.set(this.#words)
    listed.set(this.#listed)
    this.#words = words
    this.#bytes = new Uint8Array(words.buffer)
    this.#listed = listed
  }
}

const byFirst = (a: Range, b: Range): number => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0)
