/** Which commands an AMD-Vi unit takes (facts B.5), and what they ask for; see expected-unit.ts. */
import type { Deviates } from './deviates.ts'
import type { Operation, Words } from './operation.ts'

type Invalidation = Extract<Operation, { kind: 'pages' | 'entry' | 'all' }>

/** Bits of the four words that must be 0, by opcode. PREFETCH_PAGES is announced by the unit, page requests and device TLBs are not. */
const RESERVED: Readonly<Record<number, Words>> = {
  1: [0, 0x0ff0_0000, 0, 0],
  2: [0xffff_0000, 0x0fff_ffff, 0xffff_ffff, 0xffff_ffff],
  3: [0xfff0_0000, 0x0fff_0000, 0x0000_0ffc, 0],
  5: [0xffff_0000, 0x0fff_ffff, 0xffff_ffff, 0xffff_ffff],
  6: [0x00ff_0000, 0x07f0_0000, 0x0000_0fea, 0],
  8: [0xffff_ffff, 0x0fff_ffff, 0xffff_ffff, 0xffff_ffff],
}
const STORE = 1

export class ExpectedCommands {
  readonly #deviates: Deviates
  readonly #memoryBytes: number

  constructor(deviates: Deviates, memoryBytes: number) {
    this.#deviates = deviates
    this.#memoryBytes = memoryBytes
  }

  /** 1 for a command after which the command buffer stops, else 0. */
  stops(words: Words): number {
    if (this.#deviates('illegal-commands-are-skipped')) return 0
    const [a, b] = words
    const reserved = RESERVED[b >>> 28]
    if (reserved === undefined || words.some((word, i) => (word & reserved[i]!) !== 0)) return 1
    const address = (b & 0xf_ffff) * 2 ** 32 + ((a & ~7) >>> 0)
    return b >>> 28 === 1 && (a & STORE) !== 0 && address + 8 > this.#memoryBytes ? 1 : 0
  }

  /** The invalidation that a command is, null for another. */
  decode([a, b, c, d]: Words): Invalidation | null {
    switch (b >>> 28) {
      case 2:
        return { kind: 'entry', requester: a & 0xffff }
      case 3: {
        const order = (c & 1) === 0 ? 0 : sizedOrder(d, c)
        return { kind: 'pages', domain: b & 0xffff, hi: d, lo: c & ~0xfff, order, directories: (c & 2) !== 0 }
      }
      case 8:
        return { kind: 'all' }
      default:
        return null
    }
  }
}

// 2^(first zero bit from 12 up + 1) bytes.
function sizedOrder(hi: number, lo: number): number {
  const address = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
  let bit = 12
  while (bit < 64 && ((address >> BigInt(bit)) & 1n) !== 0n) bit++
  return bit + 1 - 12
}
