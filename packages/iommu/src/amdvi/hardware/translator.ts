/**
 * The path of a DMA through an AMD-Vi unit: device table entry, IOTLB, larger pages, directories, walk; interrupt messages aside. The
 * bytes are moved here; no machine address leaves.
 */
import { Count, DmaOutcome } from '@iospace/machine'
import type { Clock, DmaTranslator, Machine, MachineMemory } from '@iospace/machine'
import type { TranslationBank } from '../../cache/translation-bank.ts'
import type { PostedWrites } from '../../posted-writes.ts'
import type { StaleHitHandler } from '../../stale-hit.ts'
import { beyondHigh, beyondLow, inInterruptRange, inWidth } from '../addresses.ts'
import type { AmdviPersonality } from '../personalities.ts'
import { DeviceEntry, DeviceFlags } from '../spec/device-table.ts'
import { Rights } from '../spec/entries.ts'
import { EventFlag, Fault } from '../spec/events.ts'
import { type AmdviWalk, PASS_UNCHECKED } from '../walk.ts'
import { type AmdviCaches, NO_FRAME, UNCACHED_HIGH } from './caches.ts'
import type { EventLog } from './event-log.ts'
import { FaultReport } from './fault-report.ts'
import { type InterruptRemapper, SENT, SILENT } from './interrupt-remapper.ts'
import type { StaleHits } from './stale-hits.ts'

/** What a look-up gives, below every −fault, when the request passes as it is. */
const PASSED = -0x1000
/** Largest frame number of a table that is cached. */
const MAX_CACHED = 0x7fff_ffff

/** Control word of a cached device table entry: the domain id below, then these. */
const LEVELS_SHIFT = 16
const RIGHTS_SHIFT = 19
const PASSES = 0x20_0000
const SUPPRESS_SHIFT = 22
const MARKS_SHIFT = 18

export class AmdviTranslator implements DmaTranslator {
  declare private readonly machine: Machine
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly caches: AmdviCaches
  declare private readonly iotlb: TranslationBank
  declare private readonly posted: PostedWrites
  declare private readonly counts: Float64Array
  declare private readonly walk: AmdviWalk
  declare private readonly faults: FaultReport
  declare private readonly interrupts: InterruptRemapper
  declare private readonly staleHits: StaleHits
  declare private readonly marksMask: number
  declare private readonly cachesAbsent: boolean
  #enabled = false
  /** The device table: first frame, frames. */
  #deviceTable = 0
  #devicePages = 1
  /** The device table entry of the last request: its requester (−1: none, or no translation) and what is cached of it. */
  #selected = -1
  /** The same, if nothing but its width stands between a request and the IOTLB. */
  #fast = -1
  #domain = 0
  #levels = 0
  #table = 0
  #rights = 0
  #marks = 0
  #suppress = 0
  /** Address bits that need a closer look: above the table's width, or above what is cached. */
  #slowHigh = 0
  #slowLow = 0

  constructor(
    machine: Machine,
    { features, cachesAbsent }: AmdviPersonality,
    walk: AmdviWalk,
    caches: AmdviCaches,
    interrupts: InterruptRemapper,
    log: EventLog,
    staleHits: StaleHits,
  ) {
    this.machine = machine
    this.memory = machine.memory
    this.clock = machine.clock
    this.caches = caches
    this.iotlb = caches.iotlb
    this.posted = caches.posted
    this.counts = machine.clock.counts
    this.walk = walk
    this.faults = new FaultReport(machine, walk, log)
    this.interrupts = interrupts
    this.staleHits = staleHits
    this.marksMask = (features.hostAccessed ? DeviceEntry.accessed : 0) | (features.hostDirty ? DeviceEntry.dirty : 0)
    this.cachesAbsent = cachesAbsent
    caches.onDevicesDropped = () => this.#forget()
  }

  /** See stale-hit.ts. While it is set no access takes the short way. */
  get onStaleHit(): StaleHitHandler | null {
    return this.staleHits.handler
  }

  set onStaleHit(handler: StaleHitHandler | null) {
    this.staleHits.handler = handler
    this.#forget()
  }

  /** Whether the unit is on, and its device table of `pages` frames from `deviceTable` on. */
  configure(enabled: boolean, deviceTable: number, pages: number): void {
    this.#enabled = enabled
    this.#deviceTable = deviceTable
    this.#devicePages = pages
    this.#forget()
  }

  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number {
    const offset = lo & 0xfff
    // The short way, of a hit under the entry that the last request used; all else is looked at by the long one.
    if (requester === this.#fast && (hi & this.#slowHigh) === 0 && offset + length <= 0x1000 && length !== 0) {
      const frame = this.iotlb.find(this.#domain, (hi << 20) | (lo >>> 12), hi >>> 12, Rights.read)
      if (frame >= 0) {
        this.counts[Count.iotlbHit]!++
        this.memory.move(at, (frame << 12) | offset, length)
        return DmaOutcome.translated
      }
    }
    return this.#pieces(requester, hi, lo, at, length, false)
  }

  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number {
    const offset = lo & 0xfff
    if (requester === this.#fast && (hi & this.#slowHigh) === 0 && offset + length <= 0x1000) {
      const frame = this.iotlb.find(this.#domain, (hi << 20) | (lo >>> 12), hi >>> 12, Rights.write)
      if (frame >= 0) {
        this.counts[Count.iotlbHit]!++
        const to = (frame << 12) | offset
        this.memory.move(to, at, length)
        this.posted.record(to, length)
        return DmaOutcome.translated
      }
    }
    return this.#pieces(requester, hi, lo, at, length, true)
  }

  // Piece by piece, none across a page, up to the first that fails. A zero-length request is one piece.
  #pieces(requester: number, hi: number, lo: number, at: number, length: number, write: boolean): number {
    let done = 0
    for (;;) {
      const sum = (lo >>> 0) + done
      const piece = Math.min(length - done, 0x1000 - (sum & 0xfff))
      const outcome = this.#piece(requester, sum > 0xffff_ffff ? (hi + 1) | 0 : hi, sum | 0, at + done, piece, write)
      done += piece
      if (outcome < 0 || done >= length) return outcome
    }
  }

  #piece(requester: number, hi: number, lo: number, at: number, length: number, write: boolean): number {
    if (inInterruptRange(hi, lo)) return this.#interrupt(requester, hi, lo, at, length, write)
    if (!this.#enabled) return this.#pass(hi, lo, at, length, write)
    const frame = this.#translate(requester, hi, lo, write ? Rights.write : Rights.read)
    if (this.staleHits.handler !== null) this.#checkFresh(requester, hi, lo, write, frame)
    if (frame === PASSED) return this.#pass(hi, lo, at, length, write)
    if (frame === NO_FRAME) return DmaOutcome.unclaimed
    if (frame < 0) return this.#block(-frame, requester, hi, lo, write ? EventFlag.write : 0)
    const there = (frame << 12) | (lo & 0xfff)
    if (write) {
      this.memory.move(there, at, length)
      this.posted.record(there, length)
    } else this.memory.move(at, there, length)
    return DmaOutcome.translated
  }

  // RAM frame index or NO_FRAME of the page of (hi:lo); −fault; PASSED when the request passes untranslated.
  #translate(requester: number, hi: number, lo: number, need: number): number {
    if (requester !== this.#selected) {
      const outcome = this.#select(requester, need)
      if (outcome !== 0) return outcome
    }
    if ((this.#rights & need) === 0) return -Fault.permission
    if (((hi & this.#slowHigh) | (lo & this.#slowLow)) !== 0) return this.#uncached(hi, lo, need)
    const frame = this.iotlb.find(this.#domain, (hi << 20) | (lo >>> 12), hi >>> 12, need)
    if (frame === -1) return this.#miss(hi, lo, need)
    this.clock.count(Count.iotlbHit)
    return frame
  }

  // Whether memory still grants what #translate gave.
  #checkFresh(requester: number, hi: number, lo: number, write: boolean, frame: number): void {
    const { staleHits } = this
    if (frame === PASSED) staleHits.checkPassed(this.#deviceTable, this.#devicePages, requester, hi, lo, write)
    else if (frame >= 0 || frame === NO_FRAME)
      staleHits.check(this.#deviceTable, this.#devicePages, requester, hi, lo, write, Math.max(frame, -1))
  }

  // Makes the device table entry of `requester` the selected one, from the cache or from memory: 0, PASSED or −fault.
  #select(requester: number, need: number): number {
    const { devices } = this.caches
    const walk = this.walk
    this.#forget()
    const at = devices.find(requester)
    let control: number
    if (at >= 0) {
      this.clock.count(Count.contextHit)
      control = devices.control(at)
      this.#table = devices.table(at)
    } else {
      this.clock.count(Count.contextMiss)
      const outcome = walk.device(this.#deviceTable, this.#devicePages, requester, need)
      this.#countReads()
      this.#domain = walk.domain
      this.#suppress = walk.suppress
      if (outcome < 0) return outcome
      const rights = outcome === PASS_UNCHECKED ? Rights.both : walk.rights
      const marks = (walk.marks & this.marksMask) << MARKS_SHIFT
      const flags = (outcome === 0 ? 0 : PASSES) | (rights << RIGHTS_SHIFT) | (walk.suppress << SUPPRESS_SHIFT) | marks
      control = walk.domain | (walk.levels << LEVELS_SHIFT) | flags
      this.#table = walk.table
      if (walk.table <= MAX_CACHED) devices.insert(requester, control, walk.table)
    }
    this.#domain = control & 0xffff
    this.#rights = (control >>> RIGHTS_SHIFT) & Rights.both
    this.#suppress = (control >>> SUPPRESS_SHIFT) & (DeviceFlags.suppressFurther | DeviceFlags.suppressAll)
    // A requester that passes is never the selected one: the ways of translated requests need not ask.
    if ((control & PASSES) !== 0) return (this.#rights & need) === 0 ? -Fault.permission : PASSED
    this.#levels = (control >>> LEVELS_SHIFT) & 7
    this.#marks = (control >>> MARKS_SHIFT) & (DeviceEntry.accessed | DeviceEntry.dirty)
    walk.keepPath = this.#marks !== 0
    this.#slowHigh = beyondHigh(this.#levels) | UNCACHED_HIGH
    this.#slowLow = beyondLow(this.#levels)
    this.#selected = requester
    if (this.#rights === Rights.both && this.#slowLow === 0 && this.staleHits.handler === null) this.#fast = requester
    return 0
  }

  #forget(): void {
    this.#selected = -1
    this.#fast = -1
  }

  // Beyond the table's width, or where nothing is cached.
  #uncached(hi: number, lo: number, need: number): number {
    if (!inWidth(this.#levels, hi, lo)) return -Fault.beyondWidth
    this.clock.count(Count.iotlbMiss)
    const mfn = this.walk.page(this.#table, this.#levels, hi, lo, need)
    this.#countReads()
    if (mfn < 0) return mfn
    if (this.#marks !== 0) this.walk.mark(this.#marks, need)
    const index = this.memory.frameIndex(mfn)
    return index < 0 ? NO_FRAME : index
  }

  // Not among the 4 KiB translations: a larger page, a known leaf table, or the whole walk.
  #miss(hi: number, lo: number, need: number): number {
    const caches = this.caches
    const domain = this.#domain
    let base = caches.iotlb2M.used ? caches.iotlb2M.find(domain, (hi << 11) | (lo >>> 21), hi >>> 21, need) : -1
    if (base !== -1) return this.#large(base, (lo >>> 12) & 0x1ff)
    base = caches.iotlb1G.used ? caches.iotlb1G.find(domain, (hi << 2) | (lo >>> 30), hi >>> 30, need) : -1
    if (base !== -1) return this.#large(base, (lo >>> 12) & 0x3ffff)
    this.clock.count(Count.iotlbMiss)
    const walk = this.walk
    const table = caches.directories.find(domain, (hi << 11) | (lo >>> 21), hi >>> 21, Rights.both)
    const mfn = table >= 0 ? walk.page(table, 1, hi, lo, need) : walk.page(this.#table, this.#levels, hi, lo, need)
    this.#countReads()
    if (mfn < 0) {
      if (mfn === -Fault.notPresent && this.cachesAbsent) caches.insertAbsent(domain, hi, lo)
      return mfn
    }
    // A page that is not dirty yet is cached without the right to write, so that the first write comes here.
    let rights = walk.pageRights
    if (this.#marks !== 0 && !walk.mark(this.#marks, need)) rights &= Rights.read
    const index = this.memory.frameIndex(mfn)
    const word = index < 0 ? NO_FRAME : index
    caches.insert(domain, hi, lo, rights, mfn, word, walk, table < 0)
    return word
  }

  // A hit in a large page, whose frames need not all be RAM.
  #large(base: number, inside: number): number {
    this.clock.count(Count.iotlbHit)
    if (base === NO_FRAME) return base
    const index = this.memory.frameIndex(base + inside)
    return index < 0 ? NO_FRAME : index
  }

  // One piece at the address as it stands.
  #pass(hi: number, lo: number, at: number, length: number, write: boolean): number {
    const there = this.memory.offset(hi, lo)
    if (there < 0) return DmaOutcome.unclaimed
    if (write) this.memory.move(there, at, length)
    else this.memory.move(at, there, length)
    return DmaOutcome.untranslated
  }

  // The interrupt range is never translated. Only an aligned 4-byte write of the window is a message.
  #interrupt(requester: number, hi: number, lo: number, at: number, length: number, write: boolean): number {
    const message = write && hi === 0 && length === 4 && (lo & 3) === 0
    if (!this.#enabled) {
      if (!message) return DmaOutcome.unclaimed
      this.machine.interrupts.message(this.memory.view.getUint32(at, true))
      return DmaOutcome.untranslated
    }
    if (!write) return this.#block(Fault.interruptRead, requester, hi, lo, 0)
    if (!message)
      return this.#block(hi === 0 ? Fault.interruptFormat : Fault.interruptAborted, requester, hi, lo, EventFlag.write)
    const outcome = this.interrupts.message(
      this.#deviceTable,
      this.#devicePages,
      requester,
      this.memory.view.getUint32(at, true),
    )
    if (outcome === SENT) return DmaOutcome.untranslated
    this.#forget()
    this.#domain = this.interrupts.domain
    const silent = -outcome >= SILENT
    this.#suppress = silent ? DeviceFlags.suppressAll : 0
    return this.#block(silent ? -outcome - SILENT : -outcome, requester, hi, lo, EventFlag.interrupt)
  }

  #block(fault: number, requester: number, hi: number, lo: number, kind: number): number {
    return this.faults.block(fault, requester, this.#domain, this.#suppress, kind, hi, lo)
  }

  #countReads(): void {
    this.clock.count(Count.walkRead, this.walk.reads)
    this.walk.reads = 0
  }
}
