/** Random words and addresses, sound and corrupt, from one source of chance. */
import type { Random } from '@iospace/machine'
import { ABSENT, DATA } from '../memory-map.ts'
import type { Words } from './operation.ts'
import { CONTEXTS, domainsOf, INDICES, REQUESTERS, tablesOf } from './world.ts'

export type Level = 1 | 2 | 3 | 4

/** Bits of an entry that may be wrong or must be ignored, as [half, bit]: 0 is the lower half. */
const FLAWS: readonly (readonly [0 | 1, number])[] = [
  ...[2, 5, 6, 7, 8, 10, 11].map((bit) => [0, bit] as const),
  // Above the host address width of 39 and 48 bits, ignored bits, TM, and the topmost.
  ...[7, 15, 16, 19, 20, 23, 28, 29, 30, 31].map((bit) => [1, bit] as const),
]

export const sound = { rights: 3, present: 1, passThrough: 8 } as const

export class Values {
  /** Levels of the tables that contexts name. */
  readonly topLevels: readonly (3 | 4)[]
  readonly #random: Random
  readonly #shared: boolean

  constructor(random: Random, addressBits: 39 | 48, shared: boolean) {
    this.#random = random
    this.#shared = shared
    this.topLevels = addressBits === 39 ? [3] : [3, 4]
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

  domains(requester: number): readonly [number, number] {
    return domainsOf(this.#shared ? REQUESTERS[0]! : requester)
  }

  /** A level for an entry: most are leaves. */
  level(): Level {
    const choice = this.below(100)
    return choice < 55 ? 1 : choice < 80 ? 2 : choice < 93 || this.topLevels.length === 1 ? 3 : 4
  }

  /** An I/O address that the random stores can reach; with `beyond` percent, one above the width. */
  address(beyond: number): [hi: number, lo: number] {
    const level3 = this.chance(4) ? 0 : this.pick(INDICES[3])
    const level4 = this.topLevels.length > 1 && this.chance(40) ? this.pick(INDICES[4]) : 0
    const high = this.chance(beyond) ? 1 << (this.chance(50) ? 7 : this.below(25) + 7) : 0
    const page = (this.pick(INDICES[2]) << 9) | this.pick(INDICES[1])
    const offset = this.chance(80) ? this.below(4096) : 4096 - 1 - this.below(30)
    return [(level4 << 7) | high, (level3 << 30) | (page << 12) | offset]
  }

  rights(): number {
    return this.chance(70) ? sound.rights : 1 + this.below(2)
  }

  /** A leaf without rights: of 4 KiB, 2 MiB or 1 GiB, sometimes over the interrupt window. */
  leaf(level: Level): number {
    const window = this.chance(6)
    if (level === 1) return window ? 0xfee0_0000 + (this.below(256) << 12) : (this.pick(DATA) + this.below(8)) << 12
    if (level === 2) return (window ? 0xfee0_0000 : this.pick(DATA) << 12) | 0x80
    return (window ? 0xc000_0000 : this.chance(15) ? 0x4000_0000 : 0) | 0x80
  }

  /** An entry of a table of `level` of `domain` without rights, that names a table one level below. */
  pointer(level: Level, domain: number, absent: number): number {
    return (this.chance(absent) ? ABSENT : this.pick(tablesOf(domain).level[(level - 1) as Level])) << 12
  }

  /** A whole random entry, wrong with `flaw` percent: [low, high]. */
  entry(level: Level, domain: number, flaw: number): [number, number] {
    const kind = this.below(100)
    if (kind < 8) return [0, 0]
    if (kind < 10) return [-1, -1]
    const leaf = level === 1 || (level < 4 && this.chance(30))
    const named = leaf ? (this.chance(4) ? ABSENT << 12 : this.leaf(level)) : this.pointer(level, domain, 8)
    const words: [number, number] = [named | (this.chance(4) ? 0 : this.rights()), 0]
    return this.chance(flaw) ? this.spoilt(words) : words
  }

  /** The entry with a bit changed that is reserved or should not matter, or an address bit that a large page must not have. */
  spoilt([low, high]: readonly [number, number]): [number, number] {
    const words: [number, number] = [low, high]
    const [half, bit] = this.pick(FLAWS)
    // Without PS an entry names a table: there is something at the interrupt window, but no RAM.
    if (low >>> 20 !== 0xfee || bit !== 7) words[half] ^= 1 << bit
    if (this.chance(15)) words[0] ^= 1 << (12 + this.below(9))
    return words
  }

  /** A context entry, wrong or odd with `flaw` percent, and the domain and top level that it would name. */
  context(requester: number, flaw: number): { words: Words; domain: number; top: 3 | 4 } {
    const domain = this.pick(this.domains(requester))
    const top = this.pick(this.topLevels)
    const words: [number, number, number, number] = [
      (tablesOf(domain).level[top][0]! << 12) | sound.present,
      0,
      (domain << 8) | (top - 2),
      0,
    ]
    if (this.chance(flaw)) this.#spoilContext(words)
    return { words, domain, top }
  }

  /** A root entry with something wrong. */
  badRoot(bus: number): Words {
    const words: [number, number, number, number] = [...goodRoot(bus)]
    const kind = this.below(4)
    if (kind === 0) words[0] &= ~1
    else if (kind === 1) words[0] = (ABSENT << 12) | 1
    else if (kind === 2) words[0] |= 1 << (1 + this.below(11))
    else words[1 + this.below(3)] = 1 << (16 + this.below(16))
    return words
  }

  /** Any descriptor that neither writes nor interrupts. */
  descriptor(): Words {
    const type = this.pick([0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 15])
    const words: [number, number, number, number] = [type === 5 ? 5 : type | (this.below(4) << 4), 0, 0, 0]
    if (this.chance(50)) words[this.below(4)] |= 1 << this.below(32)
    // Nor a wait with both flags, which QEMU takes for its own mistake: an assertion ends it (facts E, QEMU VT-d (4)).
    if ((words[0] & 0xf) === 5) words[0] &= ~0x30
    return words
  }

  #spoilContext(words: [number, number, number, number]): void {
    switch (this.below(9)) {
      case 0:
        words[0] = 0
        break
      case 1:
        words[0] = (ABSENT << 12) | 1
        break
      case 2:
        words[0] |= 4 << this.below(2)
        break
      case 3:
        words[0] |= 0xc
        break
      case 4:
        words[2] = (words[2] & ~7) | this.pick([0, 3, 4, 7])
        break
      case 5:
        words[0] |= 1 << (4 + this.below(8))
        break
      case 6:
        words[this.chance(50) ? 3 : 1] |= 1 << (16 + this.below(16))
        break
      case 7:
        words[2] |= 1 << this.pick([3, 6, 7, 24, 31])
        break
      default:
        // FPD, with something to be silent about.
        words[0] |= 2
        if (this.chance(30)) words[2] |= 0x80
        else if (this.chance(20)) words[0] &= ~1
    }
  }
}

export const goodRoot = (bus: number): Words => [(CONTEXTS[bus]! << 12) | 1, 0, 0, 0]

/** Which entry of a table of `level` an address goes through. */
export function indexOf(level: Level, hi: number, lo: number): number {
  if (level === 4) return (hi >>> 7) & 511
  if (level === 3) return ((hi << 2) | (lo >>> 30)) & 511
  return (lo >>> (level === 2 ? 21 : 12)) & 511
}
