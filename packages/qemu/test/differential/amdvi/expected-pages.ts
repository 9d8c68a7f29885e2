/** What an AMD-Vi unit has cached of pages, by the specification and by QEMU's deviations; see expected-unit.ts. */
import type { Deviates } from './deviates.ts'
import type { Operation } from './operation.ts'

/** A page as it was found: log2 of its 4 KiB frames, machine address of its first byte, rights. */
export interface Page {
  readonly order: number
  readonly to: bigint
  readonly rights: number
}

interface Cached extends Page {
  readonly requester: number
  readonly domain: number
  /** The 4 KiB page that was asked for. */
  readonly page: bigint
}

/** log2 of the 4 KiB pages of what a unit caches: pages of other sizes are cached in pieces of the next smaller of them. */
const ORDERS = [0, 9, 18]
/** QEMU makes a key of a page number and a requester by putting the requester's number on top of the page number's bits from here on. */
const REQUESTER_SHIFT = 36n
/** Orders from here on are all pages. */
const ALL = 40

export class ExpectedPages {
  /** Invalidations that dropped some pages and left others. */
  partial = 0
  readonly #deviates: Deviates
  #cached: Cached[] = []

  constructor(deviates: Deviates) {
    this.#deviates = deviates
  }

  clear(): void {
    this.#cached = []
  }

  /** The page that serves a request. Where rights are not final, one that lacks them does not. */
  find(requester: number, domain: number, iova: bigint, need: number): Page | undefined {
    const page = iova >> 12n
    const final = this.#deviates('cached-rights-are-final')
    return this.#cached.find(
      (cached) => this.#serves(cached, requester, domain, page) && (final || (cached.rights & need) !== 0),
    )
  }

  add(requester: number, domain: number, iova: bigint, found: Page): void {
    const page = iova >> 12n
    const in4k = this.#deviates('pages-in-4k')
    const order = in4k ? found.order : Math.max(...ORDERS.filter((size) => size <= found.order))
    const piece = (page >> BigInt(order)) << BigInt(order)
    const to = found.to + ((piece % (1n << BigInt(found.order))) << 12n)
    this.#cached = this.#cached.filter(
      (old) => !((in4k || old.order === order) && this.#serves(old, requester, domain, page)),
    )
    this.#cached.push({ requester, domain, page, order, to, rights: found.rights })
    // The larger a piece is, the later it is looked for.
    this.#cached.sort((a, b) => a.order - b.order)
  }

  drop({ domain, hi, lo, order }: Extract<Operation, { kind: 'pages' }>): void {
    const whole = order >= ALL || this.#deviates('whole-domain-is-dropped')
    const page = (BigInt(hi >>> 0) << 20n) | BigInt(lo >>> 12)
    const before = this.#cached.length
    this.#cached = this.#cached.filter((cached) => {
      const larger = BigInt(Math.max(order, cached.order))
      return cached.domain !== domain || (!whole && cached.page >> larger !== page >> larger)
    })
    if (this.#cached.length > 0 && this.#cached.length < before) this.partial++
  }

  #serves(cached: Cached, requester: number, domain: number, page: bigint): boolean {
    const deviates = this.#deviates
    const in4k = deviates('pages-in-4k')
    if (deviates('pages-by-requester')) {
      if (in4k && deviates('high-bits-meet-the-requester'))
        return key(cached.requester, cached.page) === key(requester, page)
      if (cached.requester !== requester) return false
    } else if (cached.domain !== domain) return false
    const order = in4k ? 0n : BigInt(cached.order)
    return cached.page >> order === page >> order
  }
}

const key = (requester: number, page: bigint): bigint => page | (BigInt(requester) << REQUESTER_SHIFT)
