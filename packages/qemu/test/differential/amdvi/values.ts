/** Random words and addresses of an AMD-Vi run, sound and corrupt, from one source of chance. */
import type { Random } from '@iospace/machine'
import { ABSENT, DATA, PAGE } from '../memory-map.ts'
import type { DeviceWords, Words } from './operation.ts'
import { domainsOf, INDICES, REQUESTERS, tablesOf, type Level } from './world.ts'

export type Halves = readonly [hi: number, lo: number]

export const PRESENT = 1n
const READ = 1n << 61n
const WRITE = 1n << 62n
export const BOTH = READ | WRITE
/** V and TV. */
const VALID = 1n
const TRANSLATED = 2n

/** Bits of a page entry, besides its address, that may be wrong or must be ignored; the rights and the next level are among them. */
const ENTRY_FLAWS = [0, 1, 4, 5, 6, 7, 9, 10, 11, 52, 54, 57, 58, 59, 60, 61, 62, 63]
/** Bits of a device table entry, by quadword, that are reserved; and those that have no say in DMA. */
const DEVICE_RESERVED: readonly (readonly [number, number])[] = [2, 4, 5, 6, 63].map((bit) => [0, bit])
const INTERRUPT_RESERVED: readonly (readonly [number, number])[] = [
  [2, 52],
  [2, 53],
  [3, 0],
  [3, 14],
  [3, 48],
  [3, 53],
]
const DEVICE_IGNORED: readonly (readonly [number, number])[] = [
  ...[7, 8, 52].map((bit) => [0, bit] as const),
  ...[16, 32, 33, 34, 36, 38, 39, 41, 63].map((bit) => [1, bit] as const),
  ...[5, 30, 56, 58, 63].map((bit) => [2, bit] as const),
  ...[15, 47, 54, 63].map((bit) => [3, bit] as const),
]

export const halves = (value: bigint): Halves => [Number((value >> 32n) & 0xffff_ffffn), Number(value & 0xffff_ffffn)]
export const levelShift = (level: number): number => 3 + 9 * level
/** The level of a leaf of 2^`shift` bytes. */
export const leafLevel = (shift: number): Level => Math.floor((shift - 3) / 9) as Level
export const indexOf = (level: number, iova: bigint): number =>
  Number(iova >> BigInt(levelShift(level))) & (level === 6 ? 127 : 511)

export class Values {
  readonly #random: Random
  readonly #shared: boolean

  constructor(random: Random, shared: boolean) {
    this.#random = random
    this.#shared = shared
  }

  below(bound: number): number {
    return this.#random.below(bound)
  }
  chance(percent: number): boolean {
    return this.#random.below(100) < percent
  }
  pick<T>(list: readonly T[]): T {
    return list[this.#random.below(list.length)]!
  }

  /** Mostly one of bus 0: QEMU takes the one behind the root port for another. */
  requester(): number {
    return this.chance(3) ? REQUESTERS.at(-1)! : this.pick(REQUESTERS.slice(0, -1))
  }

  domains(requester: number): readonly [number, number] {
    return domainsOf(this.#shared ? REQUESTERS[0]! : requester)
  }

  topLevel(): Level {
    return this.pick([1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
  }

  /** An I/O address in a table of `top` levels; with `beyond` percent, one above its width. */
  address(top: Level, beyond: number): bigint {
    let iova = BigInt(this.chance(80) ? this.below(PAGE) : PAGE - 1 - this.below(30))
    for (let level = 1; level <= top; level++) {
      const index = level >= 4 && this.chance(50) ? 0 : this.pick(INDICES[level as Level])
      iova |= BigInt(index) << BigInt(levelShift(level))
    }
    if (top < 6 && this.chance(beyond)) {
      const bit = levelShift(top + 1) + (this.chance(50) ? this.below(4) : this.below(57 - levelShift(top + 1)))
      iova |= 1n << BigInt(bit)
    }
    return iova
  }

  /** log2 of the bytes of a page that a table of `top` levels can have. */
  pageShift(top: Level): number {
    const widest = Math.min(51, 2 + 9 * (Math.min(top, 5) + 1))
    // The largest go wrong most often: what they span is largest.
    if (top >= 3 && this.chance(30)) return 31 + this.below(8)
    if (this.chance(8)) return levelShift(1 + this.below(Math.min(top, 5)))
    return 12 + this.below(Math.min(widest, this.chance(80) ? 39 : 51) - 11)
  }

  rights(): bigint {
    return this.chance(70) ? BOTH : this.chance(50) ? READ : WRITE
  }

  /** A present leaf of 2^`shift` bytes without rights, mostly over data. */
  leaf(shift: number): bigint {
    const size = 1n << BigInt(shift)
    const frame = this.chance(5) ? ABSENT : this.pick(DATA) + this.below(8)
    let address = BigInt(frame * PAGE) & ~(size - 1n)
    if (this.chance(4)) address += size
    if (shift === levelShift(leafLevel(shift))) return address | PRESENT
    const ones = size / 2n - BigInt(PAGE)
    return address | ones | (7n << 9n) | PRESENT
  }

  /** A present entry without rights that names a table of `next`, of `domain`. */
  pointer(next: Level, domain: number): bigint {
    return (BigInt(this.pick(tablesOf(domain).level[next])) << 12n) | (BigInt(next) << 9n) | PRESENT
  }

  /** The entry with something wrong, or with something that should not matter. */
  spoilt(entry: bigint): bigint {
    const kind = this.below(100)
    if (kind < 8) return 0n
    if (kind < 11) return (1n << 64n) - 1n
    if (kind < 22) return entry & ~PRESENT
    if (kind < 44) return (entry & ~(7n << 9n)) | (BigInt(this.below(8)) << 9n)
    if (kind < 52) return this.leaf(12 + this.below(40)) | BOTH
    if (kind < 58) return entry ^ (1n << BigInt(12 + this.below(9)))
    if (kind < 64) return (entry & 0xfff0_0000_0000_0fffn) | (BigInt(ABSENT) << 12n)
    return entry ^ (1n << BigInt(this.pick(ENTRY_FLAWS)))
  }

  /** A device table entry, wrong or odd with `flaw` percent, and the domain and top level that it would name. */
  device(requester: number, flaw: number): { words: DeviceWords; domain: number; top: Level } {
    const domain = this.pick(this.domains(requester))
    const top = this.topLevel()
    const root = BigInt(tablesOf(domain).level[top][0]!)
    const quadwords = [(root << 12n) | (BigInt(top) << 9n) | BOTH | TRANSLATED | VALID, BigInt(domain), 0n, 0n]
    if (this.chance(flaw)) this.#spoilDevice(quadwords)
    const words = quadwords.flatMap((value) => halves(value).toReversed()) as readonly number[]
    return { words: words as DeviceWords, domain, top }
  }

  /** Any command that is no wait with an effect elsewhere. */
  command(): Words {
    const opcode = this.pick([0, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 15])
    const words: [number, number, number, number] = [0, opcode << 28, 0, 0]
    if (opcode === 2 || opcode === 5) words[0] = this.pick(REQUESTERS)
    if (opcode === 3) words[1] |= 1 + this.below(2 * REQUESTERS.length)
    // A wait that stores where nobody is.
    if (opcode === 1 && this.chance(40)) words.splice(0, 2, ((ABSENT << 12) | 1) >>> 0, words[1])
    if (this.chance(50)) {
      const word = this.below(4)
      const bit = 1 << this.below(opcode === 1 && word < 2 ? 28 : 32)
      // Not the store bit of a wait, nor the opcode.
      if (opcode === 1 ? word === 1 && (bit & 0x0ff0_0000) !== 0 : word !== 1 || bit >>> 28 === 0) words[word]! |= bit
    }
    return words
  }

  #spoilDevice(quadwords: bigint[]): void {
    const flip = ([quadword, bit]: readonly [number, number]) => {
      quadwords[quadword]! ^= 1n << BigInt(bit)
    }
    const kind = this.below(12)
    // V = 0: everything passes; with a reserved bit that is not looked at.
    if (kind === 0) quadwords[0]! &= ~VALID
    if (kind === 0 && this.chance(40)) flip(this.pick([...DEVICE_RESERVED, ...INTERRUPT_RESERVED]))
    if (kind === 1) quadwords[0]! &= ~TRANSLATED
    if (kind === 2 || kind === 3) quadwords[0]! &= ~(7n << 9n)
    if (kind === 3 || kind === 4) quadwords[0]! &= ~this.pick([READ, WRITE, BOTH])
    if (kind === 5) quadwords[0]! |= 7n << 9n
    if (kind === 6) quadwords[0] = (quadwords[0]! & 0xfff0_0000_0000_0fffn) | (BigInt(ABSENT) << 12n)
    if (kind === 7 || kind === 8) flip(this.pick(DEVICE_RESERVED))
    if (kind === 9) flip(this.pick(INTERRUPT_RESERVED))
    if (kind >= 10) flip(this.pick(DEVICE_IGNORED))
  }
}
