/** Random AMD-Vi episodes. An episode depends on its seed and number only, never on what a unit answered. */
import { Random } from '@iospace/machine'
import { ABSENT, STORE_AT } from '../memory-map.ts'
import type { AmdviEpisode, Operation } from './operation.ts'
import { placeOf, Steps } from './steps.ts'
import { BOTH, halves, levelShift, PRESENT, Values } from './values.ts'
import { DEVICE_TABLE_PAGES, DEVICE_TABLES, isKept, LEVELS, REQUESTERS, tablesOf, type Level } from './world.ts'

export const OPERATIONS_PER_EPISODE = 800
/** Ways down that each requester begins with. */
const FIRST_WAYS = 14

/** Every fifth episode shares its domains. */
export function generateEpisode(seed: number, number: number): AmdviEpisode {
  const shared = number % 5 === 4
  const values = new Values(new Random(Math.imul(seed, 0x9e37_79b1) ^ number), shared)
  return { seed, number, shared, operations: new Generator(values, shared).run() }
}

class Generator extends Steps {
  run(): readonly Operation[] {
    for (const requester of REQUESTERS) {
      this.device(requester, 0)
      for (let i = 0; i < FIRST_WAYS; i++) this.lay(requester)
    }
    while (this.operations.length < OPERATIONS_PER_EPISODE) this.#step(this.v.requester())
    return this.operations
  }

  #step(requester: number): void {
    const choice = this.v.below(1000)
    if (choice < 330) this.#dma(requester)
    else if (choice < 350) this.#staleDevice(requester)
    else if (choice < 360) this.#overlap(requester)
    else if (choice < 370) this.#alias(requester)
    else if (choice < 560) this.#stale(requester)
    else if (choice < 680) this.#flawed(requester)
    else if (choice < 730) this.#entry(requester)
    else if (choice < 860) this.#new(requester)
    else if (choice < 890) this.pages(requester)
    else if (choice < 905) this.entry(requester)
    else if (choice < 910) this.#passing(requester)
    else if (choice < 950) this.#newDevice(requester)
    else if (choice < 980) this.#deviceTable(requester)
    else this.push({ kind: 'command', words: this.v.command() })
  }

  #dma(requester: number): void {
    const way = this.v.chance(75) ? this.way(requester) : undefined
    if (way !== undefined) this.transfer(requester, this.v.chance(70) ? way.iova : this.inPage(way))
    else this.transfer(requester, this.v.address(this.current.get(requester)?.top ?? 4, 15))
  }

  /** A new way, and what it is for. */
  #new(requester: number): void {
    const way = this.lay(requester)
    const current = this.current.get(requester)
    if (way === null || way.domain !== current?.domain || way.top !== current.top) return
    for (let uses = 1 + this.v.below(3); uses > 0; uses--) this.transfer(requester, this.inPage(way))
  }

  /** Requests pass by an entry without a table, and the entry is replaced; its pages are not invalidated. */
  #passing(requester: number): void {
    const way = this.way(requester)
    if (way === undefined || this.shared) return
    const [low, ...rest] = this.device(requester, 0)
    this.push({ kind: 'device', requester, words: [low & ~0xe00, ...rest] })
    this.entry(requester)
    this.transfer(requester, way.iova)
    this.push({ kind: 'device', requester, words: [low, ...rest] })
    this.entry(requester)
    this.transfer(requester, way.iova)
    this.invalidateAll()
  }

  /** A page is used, its leaf changed, and the page used again before anything was invalidated. */
  #stale(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    if (way === undefined || this.shared) return
    const leaf = way.path.at(-1)!
    this.transfer(requester, way.iova)
    const gone = v.chance(40)
    this.store(leaf, gone ? 0n : v.leaf(way.shift) | v.rights())
    this.changed = way
    for (let uses = v.below(3); uses >= 0; uses--) {
      if (v.chance(20)) this.pages(requester)
      this.transfer(requester, this.inPage(way))
    }
    if (v.chance(50)) this.invalidateChange()
    if (v.chance(50)) this.transfer(requester, way.iova)
    if (gone) this.store(leaf, v.leaf(way.shift) | BOTH)
  }

  /** The device table entry changes, with less of an invalidation than that asks for; all is made good in the end. */
  #staleDevice(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    if (way === undefined || this.shared) return
    this.transfer(requester, way.iova)
    this.device(requester, 40)
    const kind = v.below(4)
    if (kind < 2) this.entry(requester)
    if (kind === 1 || kind === 2) this.invalidate(way.domain, 0n, 52)
    for (let uses = v.below(3); uses >= 0; uses--) this.#dma(requester)
    this.transfer(requester, way.iova)
    if (!v.chance(70)) return
    this.device(requester, 0)
    this.invalidateAll()
  }

  /** A page is cached alone, then becomes part of a large one; a transfer reaches it from the page before it. */
  #overlap(requester: number): void {
    const way = this.way(requester)
    const place = way?.path.find(({ level }) => level === 2)
    if (way === undefined || place === undefined || way.shift !== 12 || this.shared) return
    const page = way.iova & ~0xfffn
    if (page % 0x20_0000n === 0n) return
    this.transfer(requester, way.iova)
    this.store(place, this.v.leaf(21) | BOTH)
    this.changed = way
    const [hi, lo] = halves(page - 1n - BigInt(this.v.below(20)))
    const dma = { kind: 'dma', requester, hi, lo, length: 40, at: STORE_AT } as const
    this.push({ ...dma, write: false }, { ...dma, write: true })
    this.invalidateChange()
  }

  /** Two addresses that differ in bits which some unit may mix with the requester's own. */
  #alias(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    if (way === undefined || this.shared) return
    this.transfer(requester, way.iova)
    const bits = [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => ((requester >>> bit) & 1) !== 0)
    if (bits.length > 0) this.transfer(requester, way.iova ^ (1n << BigInt(48 + v.pick(bits))))
  }

  /** An entry on a way gets a flaw, the way is used, and the entry made good. */
  #flawed(requester: number): void {
    const v = this.v
    const way = this.way(requester)
    if (way === undefined) return
    const at = v.below(way.path.length)
    const place = way.path[at]!
    const next = way.path[at + 1]
    const good =
      next === undefined
        ? v.leaf(way.shift) | BOTH
        : (BigInt(next.frame) << 12n) | (BigInt(next.level) << 9n) | PRESENT | BOTH
    this.store(place, v.spoilt(good))
    this.changed = way
    if (this.owed(90)) this.invalidateChange()
    this.transfer(requester, way.iova)
    this.store(place, good)
    this.changed = way
    if (this.owed(70)) this.invalidateChange()
  }

  /** A random entry somewhere. */
  #entry(requester: number): void {
    const v = this.v
    const domain = v.pick(v.domains(requester))
    const top = this.current.get(requester)?.top ?? 4
    const iova = v.address(top, 0)
    const level = v.pick(LEVELS.slice(0, top))
    const place = placeOf(level, v.pick(tablesOf(domain).level[level]), iova)
    if (isKept(place.frame, place.index)) return
    const next = v.pick(LEVELS.slice(0, level))
    const shift = level === 6 ? levelShift(6) : Math.min(51, levelShift(level) + v.below(9))
    const entry = level === 1 || v.chance(40) ? v.leaf(shift) : v.pointer(next as Level, domain)
    this.store(place, v.chance(20) ? v.spoilt(entry | BOTH) : entry | v.rights())
    this.changed = { domain, iova, shift }
    if (this.owed(55)) this.invalidateChange()
    if (v.chance(50)) this.transfer(requester, iova)
  }

  #newDevice(requester: number): void {
    const v = this.v
    this.device(requester, 60)
    if (!this.owed(70)) return
    this.entry(requester)
    if (this.owed(80)) this.invalidateAll()
    for (let i = 1 + v.below(4); i > 0; i--) this.#dma(requester)
    // Not for long: most of a run needs entries that work.
    if (!v.chance(70)) return
    this.device(requester, 0)
    this.invalidateAll()
  }

  #deviceTable(requester: number): void {
    const v = this.v
    if (v.chance(35)) {
      this.push({ kind: 'deviceTable', frame: ABSENT, pages: DEVICE_TABLE_PAGES })
      this.#dma(requester)
    }
    if (v.chance(50)) {
      // Too short for the last of bus 0.
      this.push({ kind: 'deviceTable', frame: v.pick(DEVICE_TABLES), pages: 1 })
      this.#dma(v.pick(REQUESTERS.slice(1, 3)))
    }
    this.push({ kind: 'deviceTable', frame: v.pick(DEVICE_TABLES), pages: DEVICE_TABLE_PAGES })
  }
}
