/**
 * The path of a DMA through one northbridge: inside the aperture by TLB and table, outside it as it is. The bytes are moved here; no
 * machine address leaves. Interrupt messages come first: what is in their window is never translated.
 */
import { Count, DmaOutcome, inInterruptWindow, INTERRUPT_WINDOW, NoTranslation } from '@iospace/machine'
import type { Clock, DmaTranslator, Machine, MachineMemory } from '@iospace/machine'
import type { StaleHit, StaleHitHandler } from '../../stale-hit.ts'
import type { TableMemory } from '../../table-memory.ts'
import type { GartPersonality } from '../personalities.ts'
import { Fault, NO_HARDWARE_CODE } from '../spec/faults.ts'
import { ApertureControl, apertureFirstPage, aperturePages, tableFrame } from '../spec/registers.ts'
import { GartWalk } from '../walk.ts'
import { GartPostedWrites } from './posted-writes.ts'
import { GartTlb, MISS, NO_RAM } from './tlb.ts'

/** What a look-up gives when the walk failed. */
const FAILED = -3

/** Told of a table walk that failed, and the entry that it read if it could. */
export type WalkFailure = (fault: number, hi: number, lo: number, write: boolean, entry: number) => void

// Constants of other modules as this module's own: those are what the compiler folds.
const { iotlbHit: HIT, iotlbMiss: MISSED, walkRead: WALK_READ } = Count
const { translated: TRANSLATED, untranslated: UNTRANSLATED, unclaimed: UNCLAIMED, blocked: BLOCKED } = DmaOutcome

export class NodeTranslator implements DmaTranslator {
  onStaleHit: StaleHitHandler | null = null
  declare private readonly machine: Machine
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly counts: Float64Array
  declare private readonly outside: NoTranslation
  declare private readonly walk: GartWalk
  declare private readonly tlb: GartTlb
  declare private readonly posted: GartPostedWrites
  declare private readonly failure: WalkFailure
  /** The aperture in pages. None while it is off; those of devices none while DisGartIo is set, those of CPUs while DisGartCpu is. */
  #first = 0
  #pages = 0
  #cpuPages = 0
  /** Pages of devices below the interrupt window: those that need no closer look. */
  #plain = 0
  #table = 0
  readonly #hit: StaleHit = { requester: 0, hi: 0, lo: 0, write: false, mfn: 0 }
  readonly #leads = (page: number, frame: number): boolean => this.#fresh(page) === frame

  constructor(machine: Machine, { tlb, timing }: GartPersonality, tables: TableMemory, failure: WalkFailure) {
    this.machine = machine
    this.memory = machine.memory
    this.clock = machine.clock
    this.counts = machine.clock.counts
    this.outside = new NoTranslation(machine.memory, machine.interrupts)
    this.walk = new GartWalk(tables)
    this.tlb = new GartTlb(tlb)
    this.posted = new GartPostedWrites(machine.memory, machine.clock, timing.postedWrite)
    this.failure = failure
  }

  /** The registers changed. What the TLB holds stays: only InvGart makes it forget. */
  configure(control: number, base: number, table: number): void {
    const enabled = (control & ApertureControl.enable) !== 0
    const pages = enabled ? aperturePages(control) : 0
    this.#first = apertureFirstPage(control, base)
    this.#pages = (control & ApertureControl.disableIo) === 0 ? pages : 0
    this.#cpuPages = (control & ApertureControl.disableCpu) === 0 ? pages : 0
    this.#table = tableFrame(table)
    const window = (INTERRUPT_WINDOW << 8) - this.#first
    this.#plain = window < 0 ? this.#pages : Math.min(this.#pages, window)
  }

  /** The aperture that CPUs reach: physical address and bytes, 0 of them when there is none. */
  get cpuAperture(): { readonly base: number; readonly bytes: number } {
    return { base: this.#first * 4096, bytes: this.#cpuPages * 4096 }
  }

  /** Empties the TLB. */
  invalidate(): void {
    this.clock.count(Count.invalidation)
    this.posted.forgotten(this.#leads)
    this.tlb.forget()
  }

  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number {
    const offset = lo & 0xfff
    const page = (hi << 20) | (lo >>> 12)
    // The short way, of a hit; all else is looked at by the long one.
    if ((page - this.#first) >>> 0 < this.#plain && hi >>> 8 === 0 && offset + length <= 0x1000) {
      const frame = this.tlb.find(page)
      if (frame >= 0 && this.onStaleHit === null) {
        this.counts[HIT]!++
        this.memory.move(at, (frame << 12) | offset, length)
        return TRANSLATED
      }
    }
    return this.#pieces(requester, hi, lo, at, length, false)
  }

  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number {
    const offset = lo & 0xfff
    const page = (hi << 20) | (lo >>> 12)
    if ((page - this.#first) >>> 0 < this.#plain && hi >>> 8 === 0 && offset + length <= 0x1000) {
      const frame = this.tlb.find(page)
      if (frame >= 0 && this.onStaleHit === null) {
        this.counts[HIT]!++
        const to = (frame << 12) | offset
        this.memory.move(to, at, length)
        this.posted.record(to, length, page, frame)
        return TRANSLATED
      }
    }
    return this.#pieces(requester, hi, lo, at, length, true)
  }

  /** Flat-memory offset of byte `offset` of the aperture for a CPU; −1 where its access fails, or nobody answers. */
  cpuOffset(offset: number, write: boolean): number {
    const page = this.#first + Math.floor(offset / 4096)
    const frame = this.#translate(-1, page >>> 20, (page << 12) | (offset & 0xfff), page, write)
    return frame < 0 ? -1 : (frame << 12) | (offset & 0xfff)
  }

  // Piece by piece, none across a page, up to the first that fails. Translated is what was so in every piece.
  #pieces(requester: number, hi: number, lo: number, at: number, length: number, write: boolean): number {
    let done = 0
    let result: number = TRANSLATED
    for (;;) {
      const sum = (lo >>> 0) + done
      const piece = Math.min(length - done, 0x1000 - (sum & 0xfff))
      const outcome = this.#piece(requester, sum > 0xffff_ffff ? (hi + 1) | 0 : hi, sum | 0, at + done, piece, write)
      if (outcome < 0) return outcome
      if (outcome === UNTRANSLATED) result = UNTRANSLATED
      done += piece
      if (done >= length) return result
    }
  }

  #piece(requester: number, hi: number, lo: number, at: number, length: number, write: boolean): number {
    const page = (hi << 20) | (lo >>> 12)
    if ((page - this.#first) >>> 0 >= this.#pages || hi >>> 8 !== 0 || inInterruptWindow(hi, lo)) {
      return write
        ? this.outside.dmaWrite(requester, hi, lo, at, length)
        : this.outside.dmaRead(requester, hi, lo, at, length)
    }
    const frame = this.#translate(requester, hi, lo, page, write)
    if (frame === FAILED) return this.#blocked(requester, hi, lo, write)
    if (frame === NO_RAM) return UNCLAIMED
    const there = (frame << 12) | (lo & 0xfff)
    if (write) {
      this.memory.move(there, at, length)
      this.posted.record(there, length, page, frame)
    } else this.memory.move(at, there, length)
    return TRANSLATED
  }

  // RAM frame index, NO_RAM or FAILED of a page of the aperture. Requester −1 is a CPU.
  #translate(requester: number, hi: number, lo: number, page: number, write: boolean): number {
    const cached = this.tlb.find(page)
    if (cached !== MISS) {
      this.counts[HIT]!++
      if (this.onStaleHit !== null && this.#fresh(page) !== cached)
        this.#stale(this.onStaleHit, requester, hi, lo, write, cached)
      return cached
    }
    this.counts[MISSED]!++
    const walk = this.walk
    const mfn = walk.page(this.#table, page - this.#first)
    this.counts[WALK_READ]! += walk.reads
    walk.reads = 0
    if (mfn < 0) {
      this.failure(-mfn, hi, lo, write, -mfn === Fault.invalidEntry ? walk.entry : 0)
      return FAILED
    }
    const frame = this.#frameWord(mfn)
    this.tlb.insert(page, frame)
    return frame
  }

  #frameWord(mfn: number): number {
    const index = this.memory.frameIndex(mfn)
    return index < 0 ? NO_RAM : index
  }

  // The same from memory alone, unseen by counters; FAILED too where the page is in no aperture any more.
  #fresh(page: number): number {
    const index = page - this.#first
    if (index < 0 || index >= Math.max(this.#pages, this.#cpuPages)) return FAILED
    const mfn = this.walk.page(this.#table, index)
    this.walk.reads = 0
    return mfn < 0 ? FAILED : this.#frameWord(mfn)
  }

  #stale(told: StaleHitHandler, requester: number, hi: number, lo: number, write: boolean, frame: number): void {
    const hit = this.#hit
    hit.requester = requester
    hit.hi = hi
    hit.lo = lo
    hit.write = write
    hit.mfn = frame < 0 ? -1 : this.memory.frameAt(frame)
    told(hit)
  }

  #blocked(requester: number, hi: number, lo: number, write: boolean): number {
    const { trace } = this.machine
    this.clock.count(Count.dmaFault)
    if (trace !== null)
      trace.fault(this.clock.now, requester, write, (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0), NO_HARDWARE_CODE)
    return BLOCKED
  }
}
