/**
 * What a unit that follows the facts A.5 may still have cached: the contexts and pages that transfers went through since the last
 * invalidation that covers them. It explains differences and counts; it never decides what is right.
 */
import type { Operation, Words } from './operation.ts'

export interface CachedPage {
  readonly requester: number
  readonly domain: number
  /** First 4 KiB page, first frame, and log2 of how many. */
  readonly page: number
  readonly frame: number
  readonly order: number
  /** 1 read, 2 write. */
  readonly rights: number
  /** An invalidation that does not cover the page agrees with it in the lowest 8 bits of the page number, as far as it goes. */
  aliased: boolean
  /** A transfer that needed a right which the page lacks went through by a new walk. */
  renewed: boolean
}

export interface CachedContext {
  readonly domain: number
  readonly levels: number
  /** Frame of the top table; −1 where requests pass untranslated. */
  readonly table: number
  readonly faultsDisabled: boolean
  /**
   * Why a unit that asks less may not have it: an invalidation of another domain's contexts, or of this requester's under another
   * domain, has left it; or only pages that were cached already were asked for since it was read.
   */
  spared: 'domain' | 'device' | 'hit' | null
}

type Pages = Extract<Operation, { kind: 'translations' }>
type Contexts = Extract<Operation, { kind: 'contexts' }>

export class Cached {
  readonly #pages = new Map<string, CachedPage>()
  readonly #contexts = new Map<number, CachedContext>()
  /** Requesters whose context passed requests when contexts were last invalidated. */
  readonly passing = new Set<number>()
  /** Invalidations that dropped some pages and left others. */
  partial = 0

  /** The page of a transfer of `requester` at (`hi`:`lo`), if one went through. */
  page(requester: number, hi: number, lo: number): CachedPage | undefined {
    const page = pageNumber(hi, lo)
    for (const order of [0, 9, 18]) {
      const found = this.#pages.get(key(requester, page, order))
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The page as another requester of the same domain went through it. */
  foreign(requester: number, domain: number, hi: number, lo: number): CachedPage | undefined {
    const others = new Set([...this.#pages.values()].map((page) => page.requester))
    others.delete(requester)
    return [...others].map((other) => this.page(other, hi, lo)).find((page) => page?.domain === domain)
  }

  context(requester: number): CachedContext | undefined {
    return this.#contexts.get(requester)
  }

  addPage(hi: number, lo: number, cached: Omit<CachedPage, 'page' | 'aliased' | 'renewed'>): void {
    const page = pageNumber(hi, lo)
    const first = page - (page % 2 ** cached.order)
    this.#pages.set(key(cached.requester, page, cached.order), {
      ...cached,
      page: first,
      aliased: false,
      renewed: false,
    })
  }

  addContext(requester: number, context: CachedContext): void {
    this.#contexts.set(requester, context)
  }

  invalidatePages({ granularity, domain, hi, lo, order }: Pages): void {
    const first = pageNumber(hi, lo)
    const before = this.#pages.size
    for (const [name, cached] of this.#pages) {
      const touches = cached.page < first + 2 ** order && first < cached.page + 2 ** cached.order
      if (granularity === 1 || (cached.domain === domain && (granularity === 2 || touches))) this.#pages.delete(name)
      else if (cached.domain === domain && ((cached.page ^ first) & (-1 << order) & 0xff) === 0) cached.aliased = true
    }
    if (this.#pages.size > 0 && this.#pages.size < before) this.partial++
  }

  invalidateContexts({ granularity, domain, requester, functionMask }: Contexts): void {
    const ignored = [0, 4, 6, 7][functionMask]!
    for (const [of, context] of this.#contexts) {
      const named = ((of ^ requester) & ~ignored) === 0
      if (granularity === 1 || (context.domain === domain && (granularity === 2 || named))) this.#contexts.delete(of)
      else if (granularity === 2) context.spared = 'domain'
      else if (named) context.spared = 'device'
    }
  }

  clear(): void {
    this.#pages.clear()
    this.#contexts.clear()
    this.passing.clear()
  }
}

/** The invalidation that a descriptor asks for, null for one of another kind. */
export function invalidationOf([a, b, c, d]: Words): Pages | Contexts | null {
  const granularity = (a >>> 4) & 3
  const domain = a >>> 16
  if ((a & 0xf) === 1)
    return { kind: 'contexts', granularity, domain, requester: b & 0xffff, functionMask: (b >>> 16) & 3 }
  if ((a & 0xf) !== 2) return null
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

const pageNumber = (hi: number, lo: number): number => (hi >>> 0) * 0x10_0000 + (lo >>> 12)
const key = (requester: number, page: number, order: number): string =>
  `${requester} ${order} ${Math.floor(page / 2 ** order)}`
