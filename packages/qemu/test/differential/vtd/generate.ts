/** Random episodes. An episode depends on its seed and number only, never on what a unit answered. */
import { Random } from '@iospace/machine'
import { ABSENT, PAGE, STORE_AT } from '../memory-map.ts'
import type { Operation, VtdEpisode } from './operation.ts'
import { Steps } from './steps.ts'
import { goodRoot, indexOf, sound, Values } from './values.ts'
import { REQUESTERS, ROOTS, tablesOf } from './world.ts'

export const OPERATIONS_PER_EPISODE = 800
/** Ways down that each requester begins with. */
const FIRST_WAYS = 14

/** Three of four episodes use the queue; every fifth shares its domains. `addressBits` are those of the units. */
export function generateEpisode(seed: number, number: number, addressBits: 39 | 48): VtdEpisode {
  const shared = number % 5 === 4
  const values = new Values(new Random(Math.imul(seed, 0x9e37_79b1) ^ number), addressBits, shared)
  return { seed, number, queued: number % 4 !== 3, shared, operations: new Generator(values, shared).run() }
}

class Generator extends Steps {
  run(): readonly Operation[] {
    for (const requester of REQUESTERS) {
      this.context(requester, 0)
      for (let i = 0; i < FIRST_WAYS; i++) this.lay(requester)
    }
    while (this.operations.length < OPERATIONS_PER_EPISODE) this.#step(this.v.pick(REQUESTERS))
    return this.operations
  }

  #step(requester: number): void {
    const choice = this.v.below(1000)
    if (choice < 296) this.#dma(requester)
    else if (choice < 322) this.#staleContext(requester)
    else if (choice < 328) this.#passing(requester)
    else if (choice < 343) this.#overlap(requester)
    else if (choice < 351) this.#beyond(requester)
    else if (choice < 550) this.#stale(requester)
    else if (choice < 630) this.#flawed(requester)
    else if (choice < 710) this.#entry(requester)
    else if (choice < 770) this.lay(requester)
    else if (choice < 830) this.translations(requester)
    else if (choice < 850) this.contexts(requester)
    else if (choice < 915) this.#newContext(requester)
    else if (choice < 965) this.#newRoot(requester)
    else if (choice < 982) this.#rootTable(requester)
    else this.push({ kind: 'descriptor', words: this.v.descriptor() })
  }

  #dma(requester: number): void {
    const way = this.v.chance(65) ? this.way(requester) : undefined
    if (way === undefined) this.transfer(requester, ...this.v.address(10))
    else this.transfer(requester, way.hi, this.v.chance(70) ? way.lo : this.inPage(way))
  }

  /** A page is used, its leaf changed, and the page used again before anything was invalidated. */
  #stale(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    if (way === undefined || this.shared) return
    const leaf = way.path.at(-1)!
    this.transfer(requester, way.hi, way.lo)
    const gone = v.chance(40)
    this.store(leaf, gone ? 0 : v.leaf(leaf.level) | v.rights())
    this.changed = way
    for (let uses = v.below(3); uses >= 0; uses--) {
      if (v.chance(20)) this.translations(requester)
      this.transfer(requester, way.hi, this.inPage(way))
    }
    if (v.chance(50)) this.invalidateChange()
    if (v.chance(50)) this.transfer(requester, way.hi, way.lo)
    if (gone) this.store(leaf, v.leaf(leaf.level) | sound.rights)
  }

  /** The context goes to the other domain, with less of an invalidation than that asks for; all is made good in the end. */
  #staleContext(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    if (way === undefined || this.shared) return
    const [domain, other] = v.domains(requester)
    this.transfer(requester, way.hi, way.lo)
    const now = this.context(requester, 40)
    const kind = v.below(5)
    if (kind < 4) {
      const wrong = now === way.domain ? now : way.domain === domain ? other : domain
      const named = kind < 2 ? way.domain : wrong
      this.push({ kind: 'contexts', granularity: 3 - (kind & 1), domain: named, requester, functionMask: 0 })
    }
    for (let uses = v.below(3); uses >= 0; uses--) this.#dma(requester)
    this.transfer(requester, way.hi, way.lo)
    this.invalidateAll(requester)
  }

  /** A context that passes requests is replaced, without an invalidation, before any request came. */
  #passing(requester: number): void {
    const way = this.way(requester)
    if (way === undefined || this.shared) return
    const { words, domain, top } = this.v.context(requester, 0)
    const [low, ...rest] = words
    this.current.set(requester, { domain, top })
    this.push({ kind: 'context', requester, words: [low | sound.passThrough, ...rest] })
    this.contexts(requester, 1)
    this.push({ kind: 'context', requester, words })
    this.transfer(requester, way.hi, way.lo)
    this.invalidateAll(requester)
  }

  /** A large page is cached and changed, and an invalidation names a part of it by an address with bits that do not matter. */
  #beyond(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    const leaf = way?.path.at(-1)
    if (way === undefined || leaf === undefined || leaf.level === 1 || this.shared) return
    this.transfer(requester, way.hi, way.lo)
    this.store(leaf, v.chance(50) ? 0 : v.leaf(leaf.level) | v.rights())
    const hi = way.hi | (1 << (16 + v.below(8)))
    const lo = (way.lo & ~0xf_ffff) | ((1 + v.below(255)) << 12)
    this.push({ kind: 'translations', granularity: 3, domain: way.domain, hi, lo, order: 0, leafOnly: false })
    this.transfer(requester, way.hi, way.lo)
    this.changed = way
    this.invalidateChange()
    this.store(leaf, v.leaf(leaf.level) | sound.rights)
  }

  /** A page is cached alone, then becomes part of a large one; a transfer reaches it from the page before it. */
  #overlap(requester: number): void {
    const way = this.way(requester)
    const place = way?.path.find(({ level }) => level === 2)
    const leaf = way?.path.at(-1)
    if (way === undefined || place === undefined || leaf?.level !== 1 || leaf.index === 0 || this.shared) return
    this.transfer(requester, way.hi, way.lo)
    this.store(place, this.v.leaf(2) | sound.rights)
    this.changed = way
    const lo = (way.lo & -PAGE) - 1 - this.v.below(20)
    const dma = { kind: 'dma', requester, hi: way.hi, lo, length: 40, at: STORE_AT, keep: false } as const
    this.push({ ...dma, write: false }, { ...dma, write: true })
    this.invalidateChange()
  }

  /** An entry on a way gets a flaw, the way is used, and the entry made good. */
  #flawed(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    if (way === undefined) return
    const place = v.pick(way.path)
    const leaf = place === way.path.at(-1)
    const good = (leaf ? v.leaf(place.level) : v.pointer(place.level, way.domain, 0)) | sound.rights
    let words: [number, number] = [(ABSENT << 12) | sound.rights, 0]
    if (leaf || v.chance(60)) words = v.chance(10) ? [-1, -1] : v.spoilt([good, 0])
    this.store(place, ...words)
    this.changed = way
    if (this.owed(90)) this.invalidateChange()
    this.transfer(requester, way.hi, way.lo)
    this.store(place, good)
    this.changed = way
    if (this.owed(70)) this.invalidateChange()
  }

  /** A random entry somewhere. */
  #entry(requester: number): void {
    const v = this.v
    const domain = v.pick(v.domains(requester))
    const [hi, lo] = v.address(0)
    const level = v.level()
    const index = indexOf(level, hi, lo)
    if (level === 3 && index === 0) return
    this.store({ level, frame: v.pick(tablesOf(domain).level[level]), index }, ...v.entry(level, domain, 20))
    this.changed = { domain, hi, lo }
    if (this.owed(55)) this.invalidateChange()
    if (v.chance(50)) this.#dma(requester)
  }

  #newContext(requester: number): void {
    const v = this.v
    this.context(requester, 50)
    if (!this.owed(70)) return
    this.contexts(requester, 1)
    if (this.owed(80)) this.translationsOf(1, 0, 0, 0, 0)
    // Not for long: most of a run needs contexts that work.
    if (!v.chance(70)) return
    for (let i = v.below(4); i > 0; i--) this.#dma(requester)
    this.context(requester, 0)
    this.invalidateAll(requester)
  }

  #newRoot(requester: number): void {
    const bus = requester >>> 8
    this.push({ kind: 'root', bus, words: this.v.badRoot(bus) })
    this.invalidateAll(requester)
    for (const other of REQUESTERS) if (other >>> 8 === bus && this.v.chance(70)) this.#dma(other)
    this.push({ kind: 'root', bus, words: goodRoot(bus) })
    if (this.owed(70)) this.contexts(requester, 1)
  }

  #rootTable(requester: number): void {
    if (this.v.chance(60)) {
      this.push({ kind: 'rootTable', frame: ABSENT })
      this.#dma(requester)
    }
    this.push({ kind: 'rootTable', frame: this.v.pick(ROOTS) })
  }
}
