/** What a VT-d unit says of invalidations (facts A.5), and which it carries out; see expected-unit.ts. */
import type { Deviates } from './deviates.ts'
import type { Operation, Words } from './operation.ts'

export type Invalidation = Extract<Operation, { kind: 'translations' | 'contexts' }>

/** CAP.MAMV. */
const MOST_ORDER = 18
const GLOBAL = 1
const DOMAIN = 2
const PAGE = 3
/** The queue stopped at the descriptor with FSTS.IQE, and went on when that was made good. */
const REFUSED = 0x10_0000
const Type = {
  contexts: 1,
  translations: 2,
  deviceTlb: 3,
  interrupts: 4,
  wait: 5,
  pasidPages: 6,
  pasidCache: 7,
} as const
/** Bits of the four words that must be 0, by type. */
const RESERVED: Readonly<Record<number, Words>> = {
  [Type.contexts]: [0x0000_ffc0, 0xfffc_0000, 0xffff_ffff, 0xffff_ffff],
  [Type.translations]: [0x0000_ff00, 0xffff_ffff, 0x0000_0f80, 0],
  [Type.interrupts]: [0x07ff_ffe0, 0xffff_0000, 0xffff_ffff, 0xffff_ffff],
  [Type.wait]: [0xffff_ff00, 0, 0x0000_0003, 0],
}
/** What QEMU may take without the capability, or whatever else is in it. */
const UNADVERTISED: readonly number[] = [Type.deviceTlb, Type.interrupts, Type.pasidPages, Type.pasidCache]
/** IF and SW of a wait. */
const WAIT_FLAGS = 0x30
/** G of an invalidation of interrupt entries, and where its order is. */
const BY_INDEX = 0x10
const ORDER_SHIFT = 27
/** ECAP.MHMV. */
const MOST_INDEX_ORDER = 15

export class ExpectedCommands {
  /** Whether invalidations go through the queue, or through the registers. */
  queued = true
  readonly #deviates: Deviates
  /** Bits of an I/O address: a queued invalidation has no others. */
  readonly #addressMask: number

  constructor(deviates: Deviates, addressBits: number) {
    this.#deviates = deviates
    this.#addressMask = 2 ** (addressBits - 32) - 1
  }

  /** What the unit says of an invalidation, and what it does. */
  invalidation(asked: Invalidation): { readonly result: number; readonly done: Invalidation | null } {
    const { granularity } = asked
    if (asked.kind === 'translations') {
      const refused = granularity === PAGE && asked.order > MOST_ORDER
      const result = this.queued ? (refused ? REFUSED : 0) : (granularity << 3) | (refused ? 0 : granularity)
      const hi = this.#deviates('invalidations-reach-beyond') ? asked.hi : asked.hi & this.#addressMask
      return { result, done: refused ? null : { ...asked, hi } }
    }
    const coarse = granularity === DOMAIN && this.#deviates('domain-contexts-are-global')
    const carriedOut = coarse ? GLOBAL : granularity
    return { result: this.queued ? 0 : (granularity << 2) | carriedOut, done: { ...asked, granularity: carriedOut } }
  }

  /** The same of a descriptor; the result is null where it is not known. */
  descriptor(words: Words): { readonly result: number | null; readonly done: Invalidation | null } {
    if (!this.queued) return { result: 0, done: null }
    const type = words[0] & 0xf
    const reserved = RESERVED[type]
    const sound = reserved !== undefined && words.every((word, i) => (word & reserved[i]!) === 0)
    const asked = sound ? decode(words) : null
    if (asked !== null) return asked.granularity === 0 ? { result: REFUSED, done: null } : this.invalidation(asked)
    if (UNADVERTISED.includes(type) && this.#deviates('unadvertised-descriptors')) return { result: null, done: null }
    if (type === Type.interrupts && (words[0] & BY_INDEX) !== 0 && words[0] >>> ORDER_SHIFT > MOST_INDEX_ORDER)
      return { result: REFUSED, done: null }
    const plain = type === Type.wait && (words[0] & WAIT_FLAGS) === 0 && this.#deviates('plain-wait-is-refused')
    return { result: sound && !plain ? 0 : REFUSED, done: null }
  }
}

function decode([a, b, c, d]: Words): Invalidation | null {
  const granularity = (a >>> 4) & 3
  const domain = a >>> 16
  if ((a & 0xf) === Type.contexts)
    return { kind: 'contexts', granularity, domain, requester: b & 0xffff, functionMask: (b >>> 16) & 3 }
  if ((a & 0xf) !== Type.translations) return null
  return {
    kind: 'translations',
    granularity,
    domain,
    hi: d,
    lo: c & ~0xfff,
    order: c & 0x3f,
    leafOnly: (c & 0x40) !== 0,
  }
}
