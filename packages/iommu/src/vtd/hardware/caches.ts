/**
 * Everything a VT-d unit remembers of tables: context entries, translations by page size, directories, and the writes on their way.
 * All of it stays as it is until one of the invalidations here, whatever memory says.
 */
import type { Clock, MachineMemory } from '@iospace/machine'
import { Count } from '@iospace/machine'
import { ContextCache } from '../../cache/context-cache.ts'
import { TranslationBank } from '../../cache/translation-bank.ts'
import { PostedWrites } from '../../posted-writes.ts'
import type { VtdPersonality } from '../personalities.ts'
import { DRAINING_VERSION, Granularity } from '../spec/registers.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const INVALIDATION = Count.invalidation

/** log2 of the 4 KiB frames of a 2 MiB and a 1 GiB page. */
const ORDER_2M = 9
const ORDER_1G = 18
/** A PSI of up to 2^6 pages looks them up one by one; a larger one looks through the whole cache. */
const SCAN_ORDER = 6
/** An order that covers every address, in pages of any size. */
const ALL = 48 + ORDER_1G

/** Frame word of a translation that leads to no RAM: below every −reason. */
export const NO_FRAME = -0x200

export class VtdCaches {
  /** 4 KiB pages. Frame words: RAM frame index, or {@link NO_FRAME}. */
  declare readonly iotlb: TranslationBank
  /** 2 MiB and 1 GiB pages. Frame words: first machine frame, or {@link NO_FRAME}. */
  declare readonly iotlb2M: TranslationBank
  declare readonly iotlb1G: TranslationBank
  /** Level-2 entries that grant read and write down to them, by 2 MiB page. Frame words: machine frame of the leaf table. */
  declare readonly directories: TranslationBank
  declare readonly contexts: ContextCache
  /** Caching mode: 4 KiB pages whose requests faulted. Rights are those that were refused, frame words the reasons. */
  declare readonly absent: TranslationBank
  declare readonly posted: PostedWrites
  /** Called when context entries were forgotten. */
  onContextsDropped: () => void = () => {}
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly maxOrder: number
  declare private readonly pageInvalidation: boolean
  declare private readonly alwaysDrains: boolean
  declare private readonly coarse: boolean
  declare private readonly dropped: Int32Array

  /** `coarse`: do more than is asked for, as hardware may. */
  constructor(personality: VtdPersonality, memory: MachineMemory, clock: Clock, coarse: boolean) {
    const { capabilities, version, timing, iotlb, iotlb2M, iotlb1G, directories, contexts, absent } = personality
    this.iotlb = new TranslationBank(iotlb)
    this.iotlb2M = new TranslationBank(iotlb2M)
    this.iotlb1G = new TranslationBank(iotlb1G)
    this.directories = new TranslationBank(directories)
    this.contexts = new ContextCache(contexts)
    this.absent = new TranslationBank(absent)
    this.posted = new PostedWrites(memory, clock, timing.postedWrite)
    this.memory = memory
    this.clock = clock
    this.maxOrder = capabilities.maxOrder
    this.pageInvalidation = capabilities.pageInvalidation
    this.alwaysDrains = version >>> 4 >= DRAINING_VERSION
    this.coarse = coarse
    this.dropped = new Int32Array(Math.max(this.iotlb.capacity, this.iotlb2M.capacity, this.iotlb1G.capacity))
  }

  /**
   * Forgets context entries. `functionMask` (FM) ignores function bits: 1 bit 2, 2 bits 2:1, 3 bits 2:0. Returns the granularity done,
   * 0 when `asked` is none.
   */
  invalidateContexts(asked: number, domain: number, requester: number, functionMask: number): number {
    const granularity = this.coarse && asked > Granularity.global ? asked - 1 : asked
    switch (granularity) {
      case Granularity.global:
        this.contexts.drop(0, 0, -1)
        break
      case Granularity.domain:
        this.contexts.drop(0, 0, domain)
        break
      case Granularity.device:
        this.contexts.drop(requester, ~((7 << (3 - functionMask)) & 7), domain)
        break
      default:
        return Granularity.refused
    }
    this.clock.counts[INVALIDATION]!++
    this.onContextsDropped()
    return granularity
  }

  /**
   * Forgets translations: all, those of `domain`, or those in the 2^`order` pages around (`hi`:`lo`) of it. `leafOnly` keeps the
   * directories; `drains` waits for writes on their way. Returns the granularity done, 0 when refused.
   */
  invalidateIotlb(
    asked: number,
    domain: number,
    hi: number,
    lo: number,
    order: number,
    leafOnly: boolean,
    drains: boolean,
  ): number {
    if (asked === Granularity.page && (order > this.maxOrder || !this.pageInvalidation)) return Granularity.refused
    if (asked === Granularity.refused) return Granularity.refused
    const granularity = this.coarse && asked > Granularity.global ? asked - 1 : asked
    const drain = drains || this.alwaysDrains
    this.clock.counts[INVALIDATION]!++
    if (drain) this.posted.drain()
    switch (granularity) {
      case Granularity.global:
        if (!drain) this.posted.overtake(0, this.memory.frames)
        this.iotlb.dropAll()
        this.iotlb2M.dropAll()
        this.iotlb1G.dropAll()
        this.directories.dropAll()
        this.absent.dropAll()
        break
      case Granularity.domain:
        this.#dropRange(domain, 0, 0, ALL, drain)
        this.directories.dropRange(domain, 0, 0, ALL)
        this.absent.dropRange(domain, 0, 0, ALL)
        break
      default:
        this.absent.dropRange(domain, (hi << 20) | (lo >>> 12), hi >>> 12, order)
        if (drain && order <= SCAN_ORDER) this.#dropPages(domain, hi, lo, order)
        else this.#dropRange(domain, hi, lo, order, drain)
        if (!leafOnly)
          this.directories.dropRange(domain, (hi << 11) | (lo >>> 21), hi >>> 21, Math.max(0, order - ORDER_2M))
    }
    return granularity
  }

  /** As above for what drivers ask all day: one page, drained, directories kept. False when refused. */
  invalidatePage(domain: number, hi: number, lo: number): boolean {
    if (this.coarse || !this.pageInvalidation)
      return this.invalidateIotlb(Granularity.page, domain, hi, lo, 0, true, true) !== Granularity.refused
    this.clock.counts[INVALIDATION]!++
    this.posted.drain()
    if (this.absent.used) this.absent.dropPage(domain, (hi << 20) | (lo >>> 12), hi >>> 12)
    this.#dropPage(domain, hi, lo)
    return true
  }

  /** Everything is gone: the unit was reset. */
  reset(): void {
    this.iotlb.dropAll()
    this.iotlb2M.dropAll()
    this.iotlb1G.dropAll()
    this.directories.dropAll()
    this.absent.dropAll()
    this.contexts.drop(0, 0, -1)
    this.onContextsDropped()
  }

  #dropPages(domain: number, hi: number, lo: number, order: number): void {
    const first = ((hi << 20) | (lo >>> 12)) & (-1 << order)
    for (let page = 1; page < 1 << order; page++) this.iotlb.dropPage(domain, first ^ page, hi >>> 12)
    this.#dropPage(domain, hi, first << 12)
  }

  #dropPage(domain: number, hi: number, lo: number): void {
    this.iotlb.dropPage(domain, (hi << 20) | (lo >>> 12), hi >>> 12)
    if (this.iotlb2M.used) this.iotlb2M.dropPage(domain, (hi << 11) | (lo >>> 21), hi >>> 21)
    if (this.iotlb1G.used) this.iotlb1G.dropPage(domain, (hi << 2) | (lo >>> 30), hi >>> 30)
  }

  #dropRange(domain: number, hi: number, lo: number, order: number, drain: boolean): void {
    const dropped = drain ? null : this.dropped
    this.#overtake(this.iotlb.dropRange(domain, (hi << 20) | (lo >>> 12), hi >>> 12, order, dropped), 0, dropped)
    this.#overtake(
      this.iotlb2M.dropRange(domain, (hi << 11) | (lo >>> 21), hi >>> 21, Math.max(0, order - ORDER_2M), dropped),
      ORDER_2M,
      dropped,
    )
    this.#overtake(
      this.iotlb1G.dropRange(domain, (hi << 2) | (lo >>> 30), hi >>> 30, Math.max(0, order - ORDER_1G), dropped),
      ORDER_1G,
      dropped,
    )
  }

  #overtake(count: number, order: number, dropped: Int32Array | null): void {
    if (dropped === null) return
    for (let i = 0; i < count; i++) {
      const index = order === 0 ? dropped[i]! : this.memory.frameIndex(dropped[i]!)
      if (index >= 0) this.posted.overtake(index, 1 << order)
    }
  }
}
