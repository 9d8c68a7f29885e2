/**
 * Everything an AMD-Vi unit remembers of tables: device table entries, translations by page size, directories, and the writes on their
 * way. All of it stays as it is until one of the invalidations here, whatever memory says.
 *
 * Translations are tagged by domain and hold the rights of the page tables alone: those of the device table entry are the
 * requester's own. A page of a size between 4 KiB, 2 MiB and 1 GiB is kept in pieces of the next smaller of them that there is a cache for. Addresses from 2^60
 * up are not cached.
 */
import type { Clock, MachineMemory } from '@iospace/machine'
import { Count } from '@iospace/machine'
import { ContextCache } from '../../cache/context-cache.ts'
import { TranslationBank } from '../../cache/translation-bank.ts'
import { PostedWrites } from '../../posted-writes.ts'
import type { AmdviPersonality } from '../personalities.ts'
import { ORDER_ALL } from '../spec/commands.ts'
import { Rights } from '../spec/entries.ts'
import { Fault } from '../spec/events.ts'
import type { AmdviWalk } from '../walk.ts'

/** log2 of the 4 KiB frames of a 2 MiB and a 1 GiB page. */
const ORDER_2M = 9
const ORDER_1G = 18
/** Up to 2^6 pages are looked up one by one; for more, the whole cache is looked through. */
const SCAN_ORDER = 6
/** An order that covers every address, in pages of any size. */
const ALL = 48 + ORDER_1G

/** Upper halves of addresses that are not cached have one of these bits. */
export const UNCACHED_HIGH = 0xf000_0000 | 0
/** Frame word of a translation that leads to no RAM: below every −fault. */
export const NO_FRAME = -0x200
/** Frame word of a page that was absent. */
const ABSENT = -Fault.notPresent

export class AmdviCaches {
  /** 4 KiB pages. Frame words: RAM frame index, {@link NO_FRAME}, or −{@link Fault.notPresent}. */
  declare readonly iotlb: TranslationBank
  /** 2 MiB and 1 GiB pages. Frame words: first machine frame, or {@link NO_FRAME}. */
  declare readonly iotlb2M: TranslationBank
  declare readonly iotlb1G: TranslationBank
  /** Entries that lead to a leaf table with both rights, by the 2 MiB that it spans. Frame words: machine frame of the table. */
  declare readonly directories: TranslationBank
  declare readonly devices: ContextCache
  declare readonly posted: PostedWrites
  /** Called when device table entries were forgotten. */
  onDevicesDropped: () => void = () => {}
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly dropped: Int32Array

  constructor(
    { iotlb, iotlb2M, iotlb1G, directories, devices, timing }: AmdviPersonality,
    memory: MachineMemory,
    clock: Clock,
  ) {
    this.iotlb = new TranslationBank(iotlb)
    this.iotlb2M = new TranslationBank(iotlb2M)
    this.iotlb1G = new TranslationBank(iotlb1G)
    this.directories = new TranslationBank(directories)
    this.devices = new ContextCache(devices)
    this.posted = new PostedWrites(memory, clock, timing.postedWrite)
    this.memory = memory
    this.clock = clock
    this.dropped = new Int32Array(Math.max(this.iotlb.capacity, this.iotlb2M.capacity, this.iotlb1G.capacity))
  }

  /**
   * Keeps what `walk` just found at (`hi`:`lo`): machine frame `mfn` with `rights`; `word` is its RAM frame index or {@link NO_FRAME},
   * `whole` tells that the walk started at the top.
   */
  insert(
    domain: number,
    hi: number,
    lo: number,
    rights: number,
    mfn: number,
    word: number,
    walk: AmdviWalk,
    whole: boolean,
  ): void {
    if (walk.pageShift >= 12 + ORDER_1G && this.iotlb1G.capacity > 0)
      this.iotlb1G.insert(domain, (hi << 2) | (lo >>> 30), hi >>> 30, rights, cacheable(mfn - ((lo >>> 12) & 0x3ffff)))
    else if (walk.pageShift >= 12 + ORDER_2M && this.iotlb2M.capacity > 0)
      this.iotlb2M.insert(domain, (hi << 11) | (lo >>> 21), hi >>> 21, rights, cacheable(mfn - ((lo >>> 12) & 0x1ff)))
    else this.iotlb.insert(domain, (hi << 20) | (lo >>> 12), hi >>> 12, rights, word)
    if (whole && walk.leafLevel === 1 && walk.tableRights === Rights.both) {
      this.directories.insert(domain, (hi << 11) | (lo >>> 21), hi >>> 21, Rights.both, walk.leafTable)
    }
  }

  /** Remembers that there is no page at (`hi`:`lo`). */
  insertAbsent(domain: number, hi: number, lo: number): void {
    this.iotlb.insert(domain, (hi << 20) | (lo >>> 12), hi >>> 12, Rights.both, ABSENT)
  }

  /** Forgets the device table entry of `requester`. */
  invalidateDevice(requester: number): void {
    this.clock.count(Count.invalidation)
    this.devices.drop(requester, 0xffff, -1)
    this.onDevicesDropped()
  }

  /**
   * Forgets the translations of `domain` in the 2^`order` pages around (`hi`:`lo`), all of them from {@link ORDER_ALL} on, and with
   * `directories` those too. `drained`: writes that went through them have landed before anybody learns of it; else they land late.
   */
  invalidatePages(domain: number, hi: number, lo: number, order: number, directories: boolean, drained: boolean): void {
    this.clock.count(Count.invalidation)
    const wanted = order < ORDER_ALL ? order : ALL
    if (drained && order <= SCAN_ORDER && (hi & UNCACHED_HIGH) === 0) this.#dropPages(domain, hi, lo, order)
    else this.#dropRange(domain, hi, lo, wanted, drained ? null : this.dropped)
    if (directories)
      this.directories.dropRange(domain, (hi << 11) | (lo >>> 21), hi >>> 21, Math.max(0, wanted - ORDER_2M))
  }

  /** Forgets everything; `drained` as above. */
  invalidateAll(drained: boolean): void {
    this.clock.count(Count.invalidation)
    if (!drained) this.posted.overtake(0, this.memory.frames)
    this.iotlb.dropAll()
    this.iotlb2M.dropAll()
    this.iotlb1G.dropAll()
    this.directories.dropAll()
    this.devices.drop(0, 0, -1)
    this.onDevicesDropped()
  }

  #dropPages(domain: number, hi: number, lo: number, order: number): void {
    const first = ((hi << 20) | (lo >>> 12)) & (-1 << order)
    for (let page = 0; page < 1 << order; page++) this.iotlb.dropPage(domain, first | page, hi >>> 12)
    if (this.iotlb2M.used) this.iotlb2M.dropPage(domain, (hi << 11) | (lo >>> 21), hi >>> 21)
    if (this.iotlb1G.used) this.iotlb1G.dropPage(domain, (hi << 2) | (lo >>> 30), hi >>> 30)
  }

  #dropRange(domain: number, hi: number, lo: number, order: number, dropped: Int32Array | null): void {
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

// A frame number that a cache can hold: those that it cannot are in no RAM.
function cacheable(mfn: number): number {
  return mfn < 0x8000_0000 ? mfn : NO_FRAME
}
