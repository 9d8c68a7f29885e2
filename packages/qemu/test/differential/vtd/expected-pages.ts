/** What a VT-d unit has cached of pages, by the specification and by QEMU's deviations; see expected-unit.ts. */
import type { Deviates } from './deviates.ts'
import type { Operation } from './operation.ts'

/** A page as it was found: log2 of its 4 KiB frames (0, 9 or 18), machine address of its first byte, rights. */
export interface Page {
  readonly order: number
  readonly to: bigint
  readonly rights: number
}

interface Cached extends Page {
  readonly requester: number
  readonly domain: number
  /** Its first 4 KiB page. */
  readonly page: bigint
}

type Pages = Extract<Operation, { kind: 'translations' }>

/** Granularities of an invalidation. */
const GLOBAL = 1
const DOMAIN = 2

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

  /** The page that serves a request: the smallest. Where rights are not final, one that lacks them does not. */
  find(requester: number, domain: number, iova: bigint, need: number): Page | undefined {
    const final = this.#deviates('cached-rights-are-final')
    return this.#cached.find(
      (cached) => this.#serves(cached, requester, domain, iova) && (final || (cached.rights & need) !== 0),
    )
  }

  add(requester: number, domain: number, iova: bigint, found: Page): void {
    const order = BigInt(found.order)
    this.#cached = this.#cached.filter(
      (old) => !(old.order === found.order && this.#serves(old, requester, domain, iova)),
    )
    this.#cached.push({ ...found, requester, domain, page: ((iova >> 12n) >> order) << order })
    this.#cached.sort((a, b) => a.order - b.order)
  }

  drop(asked: Pages): void {
    const before = this.#cached.length
    this.#cached = this.#cached.filter((cached) => !this.#covers(asked, cached))
    if (this.#cached.length > 0 && this.#cached.length < before) this.partial++
  }

  #serves(cached: Cached, requester: number, domain: number, iova: bigint): boolean {
    const own = this.#deviates('translations-by-source') ? cached.requester === requester : cached.domain === domain
    return own && cached.page >> BigInt(cached.order) === (iova >> 12n) >> BigInt(cached.order)
  }

  #covers({ granularity, domain, hi, lo, order }: Pages, cached: Cached): boolean {
    if (granularity === GLOBAL) return true
    if (cached.domain !== domain) return false
    if (granularity === DOMAIN) return true
    const page = (BigInt(hi >>> 0) << 20n) | BigInt(lo >>> 12)
    const mask = this.#deviates('eight-bit-page-mask') ? 0xffn & (-1n << BigInt(order)) : -1n << BigInt(order)
    return (
      (cached.page & mask) === (page & mask) || cached.page === (page >> BigInt(cached.order)) << BigInt(cached.order)
    )
  }
}
