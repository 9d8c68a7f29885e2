/** The single steps that random AMD-Vi episodes are made of, and what a generator remembers of them. */
import type { Dma } from '../dma.ts'
import { MAX_LENGTH, PAGE, STORE_AT, STORE_BYTES } from '../memory-map.ts'
import type { DeviceWords, Operation } from './operation.ts'
import { BOTH, halves, indexOf, leafLevel, type Values } from './values.ts'
import { FRESH_TABLES, isKept, REQUESTERS, tablesOf, type Level } from './world.ts'

export interface Place {
  readonly level: Level
  readonly frame: number
  readonly index: number
  /** How many entries hold the same. */
  readonly count: number
}

/** A whole way down to a leaf, as it was laid. */
export interface Way {
  readonly domain: number
  readonly top: Level
  readonly iova: bigint
  /** log2 of the bytes of its page. */
  readonly shift: number
  /** The entries that were stored, the leaf last. */
  readonly path: readonly Place[]
}

const WAYS = 12

export class Steps {
  readonly v: Values
  /** See `AmdviEpisode.shared`: what one requester caches serves another in one unit and not in the other. */
  readonly shared: boolean
  readonly operations: Operation[] = []
  /** What the last store changed and no invalidation has covered. */
  changed: Pick<Way, 'domain' | 'iova' | 'shift'> | null = null
  /** Domain and top level that the last device table entry of each requester names. */
  readonly current = new Map<number, { domain: number; top: Level }>()
  readonly #ways: Way[] = []

  constructor(values: Values, shared: boolean) {
    this.v = values
    this.shared = shared
  }

  transfer(requester: number, iova: bigint): void {
    const v = this.v
    const write = v.chance(50)
    const short = 1 + v.below(40)
    const toEnd = PAGE - Number(iova % BigInt(PAGE))
    const length = v.chance(85) ? short : v.chance(50) ? 1 + v.below(MAX_LENGTH) : toEnd + short
    const bounded = Math.min(length, MAX_LENGTH)
    const at = STORE_AT + v.below(STORE_BYTES - bounded)
    const [hi, lo] = halves(iova)
    const dma: Dma = { kind: 'dma', requester, write, hi, lo, length: bounded, at }
    this.push(dma)
    // Once more, the other way: what is cached shows.
    if (v.chance(20)) this.push({ ...dma, write: !write })
  }

  /** A sound way down to a leaf; null where it would cross one that must be kept. */
  lay(requester: number): Way | null {
    const v = this.v
    const current = this.current.get(requester)
    const domain = current !== undefined && v.chance(70) ? current.domain : v.pick(v.domains(requester))
    const top = current !== undefined && v.chance(80) ? current.top : v.topLevel()
    const shift = v.pageShift(top)
    const leaf = leafLevel(shift)
    const iova = v.chance(90) ? nearStart(v.address(top, 0), shift) : v.address(top, 0)
    const path: Place[] = []
    let frame = tablesOf(domain).level[top][0]!
    for (let level = top; ;) {
      const count = level === leaf ? 1 << ((shift - 12) % 9) : 1
      const place = { level, frame, index: indexOf(level, iova) & -count, count }
      const kept = FRESH_TABLES.find((entry) => entry.frame === frame && entry.index === place.index)
      if (level > Math.max(4, leaf) && kept !== undefined) {
        frame = kept.lo >>> 12
        level = (level - 1) as Level
        continue
      }
      if (isKept(frame, place.index, count)) return null
      path.push(place)
      if (level === leaf) {
        this.store(place, v.leaf(shift) | v.rights())
        break
      }
      const pointer = v.pointer(this.#nextLevel(level, leaf, iova), domain)
      this.store(place, pointer | (v.chance(92) ? BOTH : v.rights()))
      frame = Number((pointer >> 12n) & 0xffff_ffffn)
      level = Number((pointer >> 9n) & 7n) as Level
    }
    const way = { domain, top, iova, shift, path }
    this.#ways.push(way)
    this.changed = way
    if (this.owed(60)) this.invalidateChange()
    return way
  }

  // Mostly the next; a lower one where the address has no bits between, and sometimes where it has.
  #nextLevel(level: Level, leaf: Level, iova: bigint): Level {
    let next = level - 1
    while (next > leaf && this.v.chance(25) && (indexOf(next, iova) === 0 || this.v.chance(4))) next--
    return next as Level
  }

  device(requester: number, flaw: number): DeviceWords {
    const { words, domain, top } = this.v.device(requester, flaw)
    this.current.set(requester, { domain, top })
    this.push({ kind: 'device', requester, words })
    return words
  }

  /** Any INVALIDATE_IOMMU_PAGES. */
  pages(requester: number): void {
    const v = this.v
    const domain = v.pick(v.domains(v.chance(80) ? requester : v.pick(REQUESTERS)))
    const order = v.chance(50) ? 0 : v.below(20)
    this.invalidate(domain, v.address(this.current.get(requester)?.top ?? 4, 2), v.chance(5) ? 52 : order)
  }

  entry(requester: number): void {
    this.push({ kind: 'entry', requester })
  }

  /** Invalidates 2^`order` pages around `iova`. */
  invalidate(domain: number, iova: bigint, order: number): void {
    const [hi, lo] = halves(iova & ~((BigInt(PAGE) << BigInt(order)) - 1n))
    this.push({ kind: 'pages', domain, hi, lo, order, directories: this.v.chance(60) })
  }

  /** Invalidates what the last store changed, in one of the ways that cover it. */
  invalidateChange(): void {
    if (this.changed === null) return
    const { domain, iova, shift } = this.changed
    const way = this.v.below(10)
    if (this.shared || way === 9) this.push({ kind: 'all' })
    else this.invalidate(domain, iova, way < 6 ? shift - 12 : way < 8 ? Math.max(18, shift - 12) : 52)
    this.changed = null
  }

  invalidateAll(): void {
    this.push({ kind: 'all' })
  }

  /** A way that the requester's device table entry leads to. */
  way(requester: number): Way | undefined {
    const current = this.current.get(requester)
    const ways = this.#ways.filter(({ domain, top }) => domain === current?.domain && top === current.top)
    return ways.length > 0 ? this.v.pick(ways.slice(-WAYS)) : undefined
  }

  /** Another address in the same page, near data. */
  inPage({ iova, shift }: Way): bigint {
    const base = iova - (iova % BigInt(PAGE)) + BigInt(this.v.below(PAGE))
    return shift > 12 && this.v.chance(30) ? base ^ (BigInt(this.v.below(Math.min(8, 1 << (shift - 12)))) << 12n) : base
  }

  store({ frame, index, count }: Omit<Place, 'level'>, entry: bigint): void {
    const [hi, lo] = halves(entry)
    this.push({ kind: 'entries', frame, index, count, hi, lo })
  }

  /** A chance, but a certainty in a shared episode: for the invalidations that a driver owes. */
  owed(percent: number): boolean {
    return this.shared || this.v.chance(percent)
  }

  push(...operations: Operation[]): void {
    this.operations.push(...operations)
  }
}

/** Inside a page of 2^`shift` bytes, the address moved to where data is: in the first 32 KiB of the first four pages of 2 MiB. */
function nearStart(iova: bigint, shift: number): bigint {
  const size = (1n << BigInt(shift)) - 1n
  return iova & ~(size & 0xffff_ffff_ff9f_8000n)
}

/** An entry of a table of `level` that `iova` goes through. */
export const placeOf = (level: Level, frame: number, iova: bigint): Place => ({
  level,
  frame,
  index: indexOf(level, iova),
  count: 1,
})
