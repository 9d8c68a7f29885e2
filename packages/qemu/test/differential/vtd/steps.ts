/** The single steps that random episodes are made of, and what a generator remembers of them. */
import { MAX_LENGTH, PAGE, STORE_AT, STORE_BYTES } from '../memory-map.ts'
import type { Operation, Transfer } from './operation.ts'
import { indexOf, sound, type Level, type Values } from './values.ts'
import { REQUESTERS, tablesOf } from './world.ts'

export interface Place {
  readonly level: Level
  readonly frame: number
  readonly index: number
}

/** A whole way down to a leaf, as it was laid. */
export interface Way {
  readonly domain: number
  readonly hi: number
  readonly lo: number
  /** The entries, the leaf last. */
  readonly path: readonly Place[]
}

export class Steps {
  readonly v: Values
  /** See `Episode.shared`: what one requester caches serves another in one unit and not in the other. */
  readonly shared: boolean
  readonly operations: Operation[] = []
  /** What the last store changed and no invalidation has covered. */
  changed: Pick<Way, 'domain' | 'hi' | 'lo'> | null = null
  /** Domain and top level that the last context of each requester names. */
  readonly current = new Map<number, { domain: number; top: 3 | 4 }>()
  readonly #ways: Way[] = []

  constructor(values: Values, shared: boolean) {
    this.v = values
    this.shared = shared
  }

  transfer(requester: number, hi: number, lo: number): void {
    const v = this.v
    const write = v.chance(50)
    const short = 1 + v.below(40)
    const length = v.chance(85) ? short : v.chance(50) ? 1 + v.below(MAX_LENGTH) : PAGE - (lo & (PAGE - 1)) + short
    const bounded = Math.min(length, MAX_LENGTH)
    const at = STORE_AT + v.below(STORE_BYTES - bounded)
    const dma: Transfer = { kind: 'dma', requester, write, hi, lo, length: bounded, at, keep: v.chance(3) }
    this.push(dma)
    // Once more, the other way: what is cached shows.
    if (v.chance(20)) this.push({ ...dma, write: !write })
  }

  /** A whole, sound way down to a leaf. */
  lay(requester: number): void {
    const v = this.v
    const domain = v.pick(v.domains(requester))
    const { level } = tablesOf(domain)
    const [hi, lo] = v.address(0)
    const leaf: Level = v.chance(60) ? 1 : v.chance(60) ? 2 : 3
    const path: Place[] = []
    let frame = level[4][0]!
    for (let at: Level = 4; ; at = (at - 1) as Level) {
      const place = { level: at, frame, index: indexOf(at, hi, lo) }
      if (at === 3 && place.index === 0) break
      if (at < 4 || v.topLevels.length > 1) path.push(place)
      if (at === leaf) {
        this.store(place, v.leaf(at) | v.rights())
        this.#ways.push({ domain, hi, lo, path })
        break
      }
      frame = at === 4 ? level[3][place.index]! : v.pick(level[(at - 1) as Level])
      this.store(place, (frame << 12) | (v.chance(90) ? sound.rights : v.rights()))
    }
    this.changed = { domain, hi, lo }
    if (this.owed(60)) this.invalidateChange()
  }

  context(requester: number, flaw: number): number {
    const { words, domain, top } = this.v.context(requester, flaw)
    this.current.set(requester, { domain, top })
    this.push({ kind: 'context', requester, words })
    return domain
  }

  /** Any invalidation of translations. */
  translations(requester: number): void {
    const v = this.v
    const [hi, lo] = v.address(2)
    const domain = v.pick(v.domains(v.chance(80) ? requester : v.pick(REQUESTERS)))
    const granularity = v.chance(70) ? 3 : 1 + v.below(2)
    const order = v.chance(50) ? 0 : v.chance(90) ? v.below(19) : 19 + v.below(3)
    this.translationsOf(granularity, domain, hi, lo & (order > 19 ? 0 : -PAGE << order), order)
  }

  translationsOf(granularity: number, domain: number, hi: number, lo: number, order: number): void {
    const leafOnly = granularity === 3 && this.v.chance(30)
    this.push({ kind: 'translations', granularity, domain, hi, lo, order: granularity === 3 ? order : 0, leafOnly })
  }

  contexts(requester: number, granularity = this.v.chance(60) ? 3 : 1 + this.v.below(2)): void {
    const functionMask = this.v.chance(20) ? this.v.below(4) : 0
    this.push({
      kind: 'contexts',
      granularity,
      domain: this.v.pick(this.v.domains(requester)),
      requester,
      functionMask,
    })
  }

  /** Invalidates what the last store changed, in one of the ways that cover it. */
  invalidateChange(): void {
    if (this.changed === null) return
    const { domain, hi, lo } = this.changed
    const way = this.v.below(10)
    const order = way < 5 ? 0 : way < 7 ? 9 : 18
    // A table's entry may lead to more than the pages that were meant.
    const granularity = way < 8 && !this.shared ? 3 : way < 9 ? 2 : 1
    this.translationsOf(granularity, domain, hi, lo & (-PAGE << order), order)
    this.changed = null
  }

  invalidateAll(requester: number): void {
    this.contexts(requester, 1)
    this.translationsOf(1, 0, 0, 0, 0)
  }

  /** A way that the requester's context leads to. */
  way(requester: number): Way | undefined {
    const current = this.current.get(requester)
    const ways = this.#ways.filter(({ domain, hi }) => domain === current?.domain && (current.top === 4 || hi === 0))
    return ways.length > 0 ? this.v.pick(ways.slice(-12)) : undefined
  }

  inPage({ lo }: Way): number {
    return (lo & -PAGE) | this.v.below(PAGE)
  }

  store({ frame, index }: Place, lo: number, hi = 0): void {
    this.push({ kind: 'entry', frame, index, hi, lo })
  }

  /** A chance, but a certainty in a shared episode: for the invalidations that a driver owes. */
  owed(percent: number): boolean {
    return this.shared || this.v.chance(percent)
  }

  push(...operations: Operation[]): void {
    this.operations.push(...operations)
  }
}
