/**
 * An Intel VT-d unit in legacy mode: sits between the PCI root and memory, and is programmed through its registers and tables in
 * memory. Every DMA is translated and performed here; no machine address leaves. Interrupt messages are remapped.
 */
import { Count, DmaOutcome, INTERRUPT_WINDOW } from '@iospace/machine'
import type { Clock, DmaTranslator, Machine, MachineMemory, MmioDevice } from '@iospace/machine'
import type { TranslationBank } from '../cache/translation-bank.ts'
import type { PostedWrites } from '../posted-writes.ts'
import type { StaleHitHandler } from '../stale-hit.ts'
import { MachineTables, type TableMemory } from '../table-memory.ts'
import { RegisterFile } from '../register-file.ts'
import { NO_FRAME, VtdCaches } from './hardware/caches.ts'
import { defineRegisters, STICKY } from './hardware/define-registers.ts'
import { EventMessage } from './hardware/event-message.ts'
import { FaultLog } from './hardware/fault-log.ts'
import { GlobalCommands } from './hardware/global-commands.ts'
import { InterruptRemapper, SENT } from './hardware/interrupt-remapper.ts'
import { InvalidationQueue } from './hardware/invalidation-queue.ts'
import { RegisterInvalidation } from './hardware/register-invalidation.ts'
import { StaleHits } from './hardware/stale-hits.ts'
import type { VtdPersonality } from './personalities.ts'
import { FaultReason, QUALIFIED_REASONS } from './spec/faults.ts'
import { FaultStatus, Register, REGISTER_BYTES, WAIT_COMPLETE } from './spec/registers.ts'
import { Need, PASS_THROUGH, VtdWalk } from './walk.ts'

/** Where chipsets of the period put the first unit. */
export const VTD_BASE = 0xfed9_0000

/** What a look-up gives, below every −reason, when the request passes as it is. */
const PASSED = -0x100

/** A frame number that no RAM has, in place of larger ones. */
const NO_RAM = 0x7fff_ffff

/** Control word of a cached context: the domain id below, then these. */
const LEVELS_SHIFT = 16
const FAULTS_DISABLED = 0x10_0000
const PASSES = 0x20_0000
/** Caching mode: the table's frame is the reason of a fault. */
const FAULTS = 0x40_0000
/** Reasons that caching mode keeps: of what an entry says, not of memory that failed. By bit. */
const KEPT_REASONS =
  (1 << FaultReason.rootNotPresent) |
  (1 << FaultReason.contextNotPresent) |
  (1 << FaultReason.contextInvalid) |
  (1 << FaultReason.rootReserved) |
  (1 << FaultReason.contextReserved) |
  (1 << FaultReason.writeBlocked) |
  (1 << FaultReason.readBlocked) |
  (1 << FaultReason.pageReserved)

export interface VtdHardwareOptions {
  /** Collapse a fault into the pending record of the same requester, as QEMU does. Default: record each. */
  readonly collapseFaults?: boolean
  /** Invalidate one step coarser than asked, and say so, as hardware may. Default: what is asked. */
  readonly coarseInvalidation?: boolean
  /** How the unit reads its tables and its queue; default: the board's memory. */
  readonly tables?: TableMemory
}

// Constants of other modules as this module's own: those are what the compiler folds.
const { iotlbHit: IOTLB_HIT, iotlbMiss: IOTLB_MISS, walkRead: WALK_READ } = Count
const { translated: TRANSLATED, unclaimed: UNCLAIMED } = DmaOutcome
const { read: READ, write: WRITE } = Need
const BOTH = READ | WRITE
const PAGE_ENTRY_ACCESS = FaultReason.pageEntryAccess
const WINDOW = INTERRUPT_WINDOW
const QUEUE_TAIL = Register.queueTail
const NOT_RAM = NO_FRAME

export class VtdHardware implements DmaTranslator, MmioDevice {
  declare readonly personality: VtdPersonality
  /** A unit with RWBF flushes the write buffer in front of memory: called then. */
  onWriteBufferFlush: () => void = () => {}
  declare private readonly machine: Machine
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  readonly #registers = new RegisterFile(REGISTER_BYTES)
  declare private readonly caches: VtdCaches
  declare private readonly iotlb: TranslationBank
  declare private readonly posted: PostedWrites
  declare private readonly counts: Float64Array
  declare private readonly walk: VtdWalk
  declare private readonly log: FaultLog
  declare private readonly faultEvent: EventMessage
  declare private readonly waitEvent: EventMessage
  declare private readonly queue: InvalidationQueue
  declare private readonly commands: GlobalCommands
  declare private readonly invalidation: RegisterInvalidation
  declare private readonly remapper: InterruptRemapper
  declare private readonly staleHits: StaleHits
  declare private readonly zeroLengthNeed: number
  declare private readonly cachingMode: boolean
  #onStaleHit: StaleHitHandler | null = null
  #translating = false
  #rootTable = 0
  /** The context that the last request used: its requester (−1: none, or no translation) and what the context cache holds of it. */
  #context = -1
  /** The same for the short ways; −1 while {@link onStaleHit} wants to see every access. */
  #selected = -1
  #domain = 0
  #levels = 0
  #table = 0
  #beyond = 0
  #faultsDisabled = false

  constructor(
    machine: Machine,
    personality: VtdPersonality,
    {
      collapseFaults = false,
      coarseInvalidation = false,
      tables = new MachineTables(machine.memory),
    }: VtdHardwareOptions = {},
  ) {
    const { capabilities, hostAddressBits } = personality
    const { clock, memory, interrupts } = machine
    const registers = this.#registers
    const extended = capabilities.extendedInterrupts
    this.personality = personality
    this.machine = machine
    this.memory = memory
    this.clock = clock
    this.caches = new VtdCaches(personality, memory, clock, coarseInvalidation)
    this.iotlb = this.caches.iotlb
    this.posted = this.caches.posted
    this.counts = clock.counts
    this.caches.onContextsDropped = () => (this.#selected = this.#context = -1)
    this.walk = new VtdWalk(tables, capabilities, hostAddressBits)
    this.staleHits = new StaleHits(memory, new VtdWalk(tables, capabilities, hostAddressBits))
    this.remapper = new InterruptRemapper(tables, clock, interrupts, personality)
    this.faultEvent = new EventMessage(registers, Register.faultEventControl, memory, interrupts, extended)
    this.waitEvent = new EventMessage(registers, Register.invalidationEventControl, memory, interrupts, extended)
    this.log = new FaultLog(registers, this.faultEvent, capabilities, collapseFaults)
    this.queue = new InvalidationQueue(
      registers,
      tables,
      clock,
      this.caches,
      this.remapper,
      this.log,
      this.waitEvent,
      personality,
    )
    this.invalidation = new RegisterInvalidation(registers, clock, personality, this.caches, this.queue)
    const flushWriteBuffer = () => this.onWriteBufferFlush()
    this.commands = new GlobalCommands(registers, clock, personality, this.queue, this.remapper, this.log, {
      setTranslation: (on) => {
        this.#translating = on
        this.#selected = this.#context = -1
      },
      setRootTable: (frame) => (this.#rootTable = frame),
      flushWriteBuffer,
    })
    if (capabilities.writeBufferFlush)
      this.queue.flushWriteBuffer = this.invalidation.flushWriteBuffer = flushWriteBuffer
    this.zeroLengthNeed = capabilities.zeroLengthRead ? Need.either : Need.read
    this.cachingMode = capabilities.cachingMode
    defineRegisters(registers, personality)
  }

  /** See stale-hit.ts. */
  get onStaleHit(): StaleHitHandler | null {
    return this.#onStaleHit
  }

  set onStaleHit(handler: StaleHitHandler | null) {
    this.#onStaleHit = handler
    this.#selected = this.#context = -1
  }

  get translator(): DmaTranslator {
    return this
  }

  read32(offset: number): number {
    return this.#registers.read(offset)
  }

  write32(offset: number, value: number): void {
    const registers = this.#registers
    registers.write(offset, value)
    // By far the most.
    if (offset === QUEUE_TAIL) {
      this.queue.start()
      return
    }
    switch (offset) {
      case Register.globalCommand:
        this.commands.write(value)
        return
      case Register.queueAddress:
      case Register.queueAddress + 4:
        this.queue.rewind()
        return
      case Register.faultStatus:
        this.log.update()
        if ((value & (FaultStatus.queueError | FaultStatus.timeout)) !== 0) this.queue.start()
        return
      case Register.faultEventControl:
        this.faultEvent.update()
        return
      case Register.invalidationEventControl:
        this.waitEvent.update()
        return
      case Register.invalidationStatus:
        if ((registers.get(offset) & WAIT_COMPLETE) === 0) this.waitEvent.withdraw()
        return
    }
    if (!this.invalidation.write(offset, value) && this.log.owns(offset)) this.log.update()
  }

  /** RESET#: as after power-on; with the power still on, fault records and error status stay (facts G). */
  reset(powerOn: boolean): void {
    const registers = this.#registers
    const kept = powerOn ? [] : [...STICKY, ...this.log.sticky()]
    const values = kept.map((offset) => registers.get(offset))
    registers.reset()
    kept.forEach((offset, i) => registers.set(offset, values[i]!))
    this.commands.reset()
    this.invalidation.reset()
    this.queue.reset()
    this.remapper.reset()
    this.caches.reset()
    this.log.rewind()
    this.#translating = false
    this.#rootTable = 0
  }

  /** A device completed an invalidation of its TLB (an ATS message). */
  deviceTlbCompleted(requester: number): void {
    this.queue.deviceCompleted(requester)
  }

  /**
   * A memory request whose AT field says that it is a translation request (1) or that its address is translated (2): what a device
   * with ATS sends, and what a malicious one sends to get around the tables. No context entry here allows it.
   */
  dmaTyped(requester: number, hi: number, lo: number, write: boolean, addressType: number): number {
    if (!this.#translating) return UNCLAIMED
    const outcome = this.#select(requester)
    const reason = outcome < 0 && outcome !== PASSED ? -outcome : FaultReason.typeBlocked
    return this.#block(reason, requester, hi, lo, write, addressType)
  }

  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number {
    const offset = lo & 0xfff
    // The short way, of a hit under the context that the last request used; all else is looked at by the long one.
    if (requester === this.#selected && (hi & this.#beyond) === 0 && offset + length <= 0x1000 && length !== 0) {
      const frame = this.iotlb.find(this.#domain, (hi << 20) | (lo >>> 12), hi >>> 12, READ)
      if (frame >= 0) {
        this.counts[IOTLB_HIT]!++
        this.memory.move(at, (frame << 12) | offset, length)
        return TRANSLATED
      }
      if (frame === -1 && (hi !== 0 || lo >>> 20 !== WINDOW)) {
        const found = this.#miss(hi, lo, READ)
        if (found < 0) return this.#refuse(found, requester, hi, lo, false)
        this.memory.move(at, (found << 12) | offset, length)
        return TRANSLATED
      }
    }
    return this.#pieces(requester, hi, lo, at, length, false)
  }

  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number {
    const offset = lo & 0xfff
    if (requester === this.#selected && (hi & this.#beyond) === 0 && offset + length <= 0x1000) {
      const frame = this.iotlb.find(this.#domain, (hi << 20) | (lo >>> 12), hi >>> 12, WRITE)
      if (frame >= 0) {
        this.counts[IOTLB_HIT]!++
        const to = (frame << 12) | offset
        this.memory.move(to, at, length)
        this.posted.record(to, length)
        return TRANSLATED
      }
      if (frame === -1 && (hi !== 0 || lo >>> 20 !== WINDOW)) {
        const found = this.#miss(hi, lo, WRITE)
        if (found < 0) return this.#refuse(found, requester, hi, lo, true)
        const to = (found << 12) | offset
        this.memory.move(to, at, length)
        this.posted.record(to, length)
        return TRANSLATED
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
    if (hi === 0 && lo >>> 20 === INTERRUPT_WINDOW)
      return write ? this.#interrupt(requester, lo, at, length) : DmaOutcome.unclaimed
    if (!this.#translating) return this.#pass(hi, lo, at, length, write)
    const need = write ? Need.write : length === 0 ? this.zeroLengthNeed : Need.read
    const frame = this.#translate(requester, hi, lo, need)
    if (this.#onStaleHit !== null) this.#checkHit(this.#onStaleHit, requester, hi, lo, need, write, frame)
    if (frame === PASSED) return this.#pass(hi, lo, at, length, write)
    if (frame < 0) return this.#refuse(frame, requester, hi, lo, write)
    const there = (frame << 12) | (lo & 0xfff)
    if (write) {
      this.memory.move(there, at, length)
      this.posted.record(there, length)
    } else this.memory.move(at, there, length)
    return TRANSLATED
  }

  // The answer to a request that no frame was found for.
  #refuse(frame: number, requester: number, hi: number, lo: number, write: boolean): number {
    return frame === NO_FRAME ? UNCLAIMED : this.#block(-frame, requester, hi, lo, write)
  }

  // RAM frame index or NO_FRAME of the page of (hi:lo); −reason; PASSED when the request passes untranslated.
  #translate(requester: number, hi: number, lo: number, need: number): number {
    if (requester !== this.#context) {
      const outcome = this.#select(requester)
      if (outcome !== 0) return outcome
    }
    if ((hi & this.#beyond) !== 0) return -FaultReason.addressBeyondWidth
    const frame = this.iotlb.find(this.#domain, (hi << 20) | (lo >>> 12), hi >>> 12, need)
    if (frame === -1) return this.#miss(hi, lo, need)
    this.clock.count(Count.iotlbHit)
    return frame
  }

  // Makes the context of `requester` the selected one, from the cache or from memory: 0, PASSED or −reason.
  #select(requester: number): number {
    const { contexts } = this.caches
    const walk = this.walk
    let at = contexts.find(requester)
    if (at >= 0) this.clock.count(Count.contextHit)
    else {
      this.clock.count(Count.contextMiss)
      const outcome = walk.context(this.#rootTable, requester)
      this.#countReads()
      this.#faultsDisabled = walk.faultsDisabled
      this.#selected = this.#context = -1
      const disabled = walk.faultsDisabled ? FAULTS_DISABLED : 0
      if (outcome < 0) {
        // Domain id 0 is the tag of what faults.
        if (this.cachingMode && ((KEPT_REASONS >>> -outcome) & 1) !== 0)
          contexts.insert(requester, FAULTS | disabled, -outcome)
        return outcome
      }
      const flags = disabled | (outcome === PASS_THROUGH ? PASSES : 0)
      contexts.insert(requester, walk.domain | (walk.levels << LEVELS_SHIFT) | flags, Math.min(walk.table, NO_RAM))
      at = contexts.find(requester)
    }
    const control = contexts.control(at)
    this.#faultsDisabled = (control & FAULTS_DISABLED) !== 0
    // A requester that passes or faults is never the selected one: the fast path need not ask.
    this.#context = (control & (PASSES | FAULTS)) === 0 ? requester : -1
    this.#selected = this.#onStaleHit === null ? this.#context : -1
    if ((control & PASSES) !== 0) return PASSED
    if ((control & FAULTS) !== 0) return -contexts.table(at)
    this.#domain = control & 0xffff
    this.#levels = (control >>> LEVELS_SHIFT) & 7
    this.#table = contexts.table(at)
    this.#beyond = walk.beyondWidth(this.#levels)
    return 0
  }

  // Not among the 4 KiB translations: a larger page, a known leaf table, or the whole walk.
  #miss(hi: number, lo: number, need: number): number {
    const caches = this.caches
    const domain = this.#domain
    let base = caches.iotlb2M.used ? caches.iotlb2M.find(domain, (hi << 11) | (lo >>> 21), hi >>> 21, need) : -1
    if (base !== -1) return this.#large(base, (lo >>> 12) & 0x1ff)
    base = caches.iotlb1G.used ? caches.iotlb1G.find(domain, (hi << 2) | (lo >>> 30), hi >>> 30, need) : -1
    if (base !== -1) return this.#large(base, (lo >>> 12) & 0x3ffff)
    if (this.cachingMode && caches.absent.used) {
      const reason = caches.absent.find(domain, (hi << 20) | (lo >>> 12), hi >>> 12, need)
      if (reason >= 0) return -reason
    }
    this.counts[IOTLB_MISS]!++
    const walk = this.walk
    const table = caches.directories.find(domain, (hi << 11) | (lo >>> 21), hi >>> 21, BOTH)
    if (table >= 0) {
      const frame = walk.plainLeaf(table, lo, need)
      if (frame >= 0) {
        this.#countReads()
        const index = this.memory.frameIndex(frame)
        const word = index < 0 ? NOT_RAM : index
        this.iotlb.insert(domain, (hi << 20) | (lo >>> 12), hi >>> 12, walk.rights, word)
        return word
      }
    }
    const mfn =
      table >= 0
        ? walk.page(table, 1, hi, lo, need, null, BOTH, PAGE_ENTRY_ACCESS)
        : walk.page(this.#table, this.#levels, hi, lo, need)
    this.#countReads()
    if (mfn < 0) {
      if (this.cachingMode && need !== BOTH && ((KEPT_REASONS >>> -mfn) & 1) !== 0)
        caches.absent.insert(domain, (hi << 20) | (lo >>> 12), hi >>> 12, need, -mfn)
      return mfn
    }
    const index = this.memory.frameIndex(mfn)
    const word = index < 0 ? NOT_RAM : index
    const { rights } = walk
    switch (walk.leafLevel) {
      case 1:
        this.iotlb.insert(domain, (hi << 20) | (lo >>> 12), hi >>> 12, rights, word)
        if (table < 0 && walk.tableRights === BOTH)
          caches.directories.insert(domain, (hi << 11) | (lo >>> 21), hi >>> 21, BOTH, walk.leafTable)
        break
      case 2:
        caches.iotlb2M.insert(
          domain,
          (hi << 11) | (lo >>> 21),
          hi >>> 21,
          rights,
          cacheable(mfn - ((lo >>> 12) & 0x1ff)),
        )
        break
      default:
        caches.iotlb1G.insert(
          domain,
          (hi << 2) | (lo >>> 30),
          hi >>> 30,
          rights,
          cacheable(mfn - ((lo >>> 12) & 0x3ffff)),
        )
    }
    return word
  }

  // A hit in a large page, whose frames need not all be alike: some may be no RAM, some the interrupt window.
  #large(base: number, inside: number): number {
    this.clock.count(Count.iotlbHit)
    if (base === NO_FRAME) return base
    const mfn = base | inside
    if (mfn >>> 8 === INTERRUPT_WINDOW) return -FaultReason.outputInterrupt
    const index = this.memory.frameIndex(mfn)
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

  // The interrupt window is never translated. Only an aligned 4-byte write is a message.
  #interrupt(requester: number, lo: number, at: number, length: number): number {
    if (length !== 4 || (lo & 3) !== 0) return DmaOutcome.unclaimed
    const { remapper } = this
    const outcome = remapper.message(requester, lo, this.memory.view.getInt32(at, true))
    if (outcome === SENT) return DmaOutcome.untranslated
    this.#tellFault(-outcome, requester, 0, lo, true)
    // The record names the entry, in the place of the address.
    if (!remapper.faultsDisabled) this.log.record(-outcome, requester, remapper.index << 16, 0, true)
    return DmaOutcome.blocked
  }

  #block(reason: number, requester: number, hi: number, lo: number, write: boolean, addressType = 0): number {
    this.#tellFault(reason, requester, hi, lo, write)
    const silent = this.#faultsDisabled && ((QUALIFIED_REASONS >>> reason) & 1) !== 0
    if (!silent) this.log.record(reason, requester, hi, lo, write, addressType)
    return DmaOutcome.blocked
  }

  #tellFault(reason: number, requester: number, hi: number, lo: number, write: boolean): void {
    this.clock.count(Count.dmaFault)
    const { trace } = this.machine
    if (trace !== null) trace.fault(this.clock.now, requester, write, (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0), reason)
  }

  // For the detector: a request got `frame` of {@link #translate}.
  #checkHit(
    handler: StaleHitHandler,
    requester: number,
    hi: number,
    lo: number,
    need: number,
    write: boolean,
    frame: number,
  ): void {
    if (frame < 0 && frame !== PASSED && frame !== NO_FRAME) return
    const at = frame === PASSED ? this.memory.offset(hi, lo) : -1
    const index = frame === PASSED ? (at < 0 ? -1 : at >>> 12) : frame
    this.staleHits.check(handler, this.#rootTable, requester, hi, lo, need, write, index)
  }

  #countReads(): void {
    this.counts[WALK_READ]! += this.walk.reads
    this.walk.reads = 0
  }
}

// RAM ends far below 2^31 frames: above, one word stands for all.
const cacheable = (mfn: number): number => (mfn < NO_RAM ? mfn : NO_FRAME)
