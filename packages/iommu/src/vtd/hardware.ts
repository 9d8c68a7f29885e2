/**
 * An Intel VT-d unit in legacy mode: sits between the PCI root and memory, and is programmed through its registers and tables in
 * memory. Every DMA is translated and performed here; no machine address leaves.
 */
import { Count, DmaOutcome, INTERRUPT_WINDOW } from '@iospace/machine'
import type { Clock, DmaTranslator, Machine, MachineMemory, MmioDevice } from '@iospace/machine'
import type { TranslationBank } from '../cache/translation-bank.ts'
import type { PostedWrites } from '../posted-writes.ts'
import type { StaleHitHandler } from '../stale-hit.ts'
import { MachineTables } from '../table-memory.ts'
import { RegisterFile } from '../register-file.ts'
import { NO_FRAME, VtdCaches } from './hardware/caches.ts'
import { EventMessage } from './hardware/event-message.ts'
import { FaultLog } from './hardware/fault-log.ts'
import { InvalidationQueue } from './hardware/invalidation-queue.ts'
import type { VtdPersonality } from './personalities.ts'
import { FaultReason, QUALIFIED_REASONS } from './spec/faults.ts'
import {
  ContextCommand,
  FaultStatus,
  GlobalCommand,
  InvalidationAddress,
  IotlbCommand,
  IotlbRegister,
  Register,
  REGISTER_BYTES,
  RootTableRegister,
  WAIT_COMPLETE,
} from './spec/registers.ts'
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

export interface VtdHardwareOptions {
  /** Collapse a fault into the pending record of the same requester, as QEMU does. Default: record each. */
  readonly collapseFaults?: boolean
}

// Constants of other modules as this module's own: those are what the compiler folds.
const { iotlbHit: IOTLB_HIT, iotlbMiss: IOTLB_MISS, walkRead: WALK_READ } = Count
const { translated: TRANSLATED, unclaimed: UNCLAIMED } = DmaOutcome
const { read: READ, write: WRITE } = Need
const BOTH = READ | WRITE
const PAGE_ENTRY_ACCESS = FaultReason.pageEntryAccess
const WINDOW = INTERRUPT_WINDOW

export class VtdHardware implements DmaTranslator, MmioDevice {
  declare readonly personality: VtdPersonality
  /** See stale-hit.ts. */
  onStaleHit: StaleHitHandler | null = null
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
  declare private readonly iotlbOffset: number
  declare private readonly zeroLengthNeed: number
  #translating = false
  #rootTable = 0
  /** The commanded state of the persistent GCMD bits; GSTS follows late. */
  #commanded = 0
  /** The context that the last request used: its requester (−1: none, or no translation) and what the context cache holds of it. */
  #selected = -1
  #domain = 0
  #levels = 0
  #table = 0
  #beyond = 0
  #faultsDisabled = false

  constructor(machine: Machine, personality: VtdPersonality, { collapseFaults = false }: VtdHardwareOptions = {}) {
    const { capabilities, timing } = personality
    const { clock, memory, interrupts } = machine
    const registers = this.#registers
    const tables = new MachineTables(memory)
    this.personality = personality
    this.machine = machine
    this.memory = memory
    this.clock = clock
    this.caches = new VtdCaches(personality, memory, clock)
    this.iotlb = this.caches.iotlb
    this.posted = this.caches.posted
    this.counts = clock.counts
    this.caches.onContextsDropped = () => (this.#selected = -1)
    this.walk = new VtdWalk(tables, capabilities, personality.hostAddressBits)
    this.faultEvent = new EventMessage(registers, Register.faultEventControl, memory, interrupts)
    this.waitEvent = new EventMessage(registers, Register.invalidationEventControl, memory, interrupts)
    this.log = new FaultLog(
      registers,
      this.faultEvent,
      capabilities.faultRecordOffset,
      capabilities.faultRecords,
      collapseFaults,
    )
    this.queue = new InvalidationQueue(registers, tables, clock, this.caches, this.log, this.waitEvent, timing)
    this.iotlbOffset = capabilities.iotlbOffset
    this.zeroLengthNeed = capabilities.zeroLengthRead ? Need.either : Need.read
    this.#defineRegisters()
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
    switch (offset) {
      case Register.queueTail:
        this.queue.start()
        return
      case Register.globalCommand:
        this.#command(value)
        return
      case Register.contextCommand + 4:
        if ((value & ContextCommand.invalidate) !== 0) this.#later(() => this.#invalidateContexts())
        return
      case Register.queueAddress:
      case Register.queueAddress + 4:
        this.queue.rewind()
        return
      case Register.faultStatus:
        this.log.update()
        if ((value & FaultStatus.queueError) !== 0) this.queue.start()
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
    if (offset === this.iotlbOffset + IotlbRegister.command + 4 && (value & IotlbCommand.invalidate) !== 0)
      this.#later(() => this.#invalidateIotlb())
    else if (this.log.owns(offset)) this.log.update()
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
      return write ? this.#interrupt(lo, at, length) : DmaOutcome.unclaimed
    if (!this.#translating) return this.#pass(hi, lo, at, length, write)
    const need = write ? Need.write : length === 0 ? this.zeroLengthNeed : Need.read
    const frame = this.#translate(requester, hi, lo, need)
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
    if (requester !== this.#selected) {
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
      this.#selected = -1
      if (outcome < 0) return outcome
      const flags = (walk.faultsDisabled ? FAULTS_DISABLED : 0) | (outcome === PASS_THROUGH ? PASSES : 0)
      contexts.insert(requester, walk.domain | (walk.levels << LEVELS_SHIFT) | flags, Math.min(walk.table, NO_RAM))
      at = contexts.find(requester)
    }
    const control = contexts.control(at)
    this.#faultsDisabled = (control & FAULTS_DISABLED) !== 0
    // A requester that passes is never the selected one: the fast path need not ask.
    this.#selected = (control & PASSES) === 0 ? requester : -1
    if ((control & PASSES) !== 0) return PASSED
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
    this.counts[IOTLB_MISS]!++
    const walk = this.walk
    const table = caches.directories.find(domain, (hi << 11) | (lo >>> 21), hi >>> 21, BOTH)
    const mfn =
      table >= 0
        ? walk.page(table, 1, hi, lo, need, null, BOTH, PAGE_ENTRY_ACCESS)
        : walk.page(this.#table, this.#levels, hi, lo, need)
    this.#countReads()
    if (mfn < 0) return mfn
    const index = this.memory.frameIndex(mfn)
    const word = index < 0 ? NO_FRAME : index
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
  #interrupt(lo: number, at: number, length: number): number {
    if (length !== 4 || (lo & 3) !== 0) return DmaOutcome.unclaimed
    this.machine.interrupts.message(this.memory.view.getUint32(at, true))
    return DmaOutcome.untranslated
  }

  #block(reason: number, requester: number, hi: number, lo: number, write: boolean): number {
    this.clock.count(Count.dmaFault)
    const { trace } = this.machine
    if (trace !== null) trace.fault(this.clock.now, requester, write, (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0), reason)
    const silent = this.#faultsDisabled && ((QUALIFIED_REASONS >>> reason) & 1) !== 0
    if (!silent) this.log.record(reason, requester, hi, lo, write)
    return DmaOutcome.blocked
  }

  #countReads(): void {
    this.counts[WALK_READ]! += this.walk.reads
    this.walk.reads = 0
  }

  #defineRegisters(): void {
    const registers = this.#registers
    const { version, capHigh, capLow, ecapHigh, ecapLow } = this.personality
    registers.define(Register.version, version)
    registers.define(Register.capability, capLow)
    registers.define(Register.capability + 4, capHigh)
    registers.define(Register.extendedCapability, ecapLow)
    registers.define(Register.extendedCapability + 4, ecapHigh)
    registers.define(Register.rootTable, 0, RootTableRegister.addressMask | RootTableRegister.modeMask)
    registers.define(Register.rootTable + 4, 0, -1)
    // Source id and function mask are write-only.
    registers.define(Register.contextCommand, 0, -1, 0, 0xffff_0000 | 0)
    registers.define(Register.contextCommand + 4, 0, 0xe000_0003 | 0, 0, ContextCommand.functionMask)
    const iotlb = this.iotlbOffset
    const address = 0xffff_f000 | InvalidationAddress.leafOnly | InvalidationAddress.orderMask | 0
    registers.define(iotlb + IotlbRegister.address, 0, address, 0, -1)
    registers.define(iotlb + IotlbRegister.address + 4, 0, -1, 0, -1)
    registers.define(iotlb + IotlbRegister.command + 4, 0, 0xb003_ffff | 0)
  }

  #later(action: () => void): void {
    this.clock.after(this.personality.timing.command, action)
  }

  // GCMD: one-shot commands and changes of the persistent bits, each complete some time later (facts A.1).
  #command(value: number): void {
    const { translation, rootTable, writeBuffer, queue } = GlobalCommand
    const changed = (value ^ this.#commanded) & (translation | queue)
    this.#commanded ^= changed
    if ((value & rootTable) !== 0) {
      this.#setStatus(rootTable, false)
      this.#later(() => {
        const registers = this.#registers
        this.#rootTable =
          (registers.get(Register.rootTable + 4) >>> 0) * 0x10_0000 + (registers.get(Register.rootTable) >>> 12)
        this.#setStatus(rootTable, true)
      })
    }
    if ((value & writeBuffer) !== 0 && this.personality.capabilities.writeBufferFlush) {
      this.#setStatus(writeBuffer, true)
      this.#later(() => this.#setStatus(writeBuffer, false))
    }
    if ((changed & queue) !== 0) this.#later(() => this.#setQueue((value & queue) !== 0))
    if ((changed & translation) !== 0) {
      this.#later(() => {
        this.#translating = (value & translation) !== 0
        this.#selected = -1
        if (!this.#translating) this.log.rewind()
        this.#setStatus(translation, this.#translating)
      })
    }
  }

  #setQueue(on: boolean): void {
    if (on) {
      this.queue.enable()
      this.#setStatus(GlobalCommand.queue, true)
      return
    }
    this.queue.whenEmpty(() => {
      this.queue.disable()
      this.#setStatus(GlobalCommand.queue, false)
    })
  }

  #setStatus(bit: number, on: boolean): void {
    const status = this.#registers.get(Register.globalStatus)
    this.#registers.set(Register.globalStatus, on ? status | bit : status & ~bit)
  }

  // With queued invalidation on, register-based commands are not taken: their bit stays set, as in QEMU.
  #invalidateContexts(): void {
    if (this.queue.enabled) return
    const low = this.#registers.get(Register.contextCommand)
    const high = this.#registers.get(Register.contextCommand + 4)
    const asked = (high >>> ContextCommand.granularityShift) & 3
    const done = this.caches.invalidateContexts(asked, low & 0xffff, low >>> 16, high & ContextCommand.functionMask)
    const kept = high & ~(ContextCommand.invalidate | (3 << ContextCommand.actualShift))
    this.#registers.set(Register.contextCommand + 4, kept | (done << ContextCommand.actualShift))
  }

  #invalidateIotlb(): void {
    if (this.queue.enabled) return
    const at = this.iotlbOffset + IotlbRegister.command + 4
    const command = this.#registers.get(at)
    const addressLow = this.#registers.get(this.iotlbOffset + IotlbRegister.address)
    const done = this.caches.invalidateIotlb(
      (command >>> IotlbCommand.granularityShift) & 3,
      command & IotlbCommand.domainMask,
      this.#registers.get(this.iotlbOffset + IotlbRegister.address + 4),
      addressLow & ~0xfff,
      addressLow & InvalidationAddress.orderMask,
      (addressLow & InvalidationAddress.leafOnly) !== 0,
      (command & IotlbCommand.drainWrites) !== 0,
    )
    this.#registers.set(
      at,
      (command & ~(IotlbCommand.invalidate | (3 << IotlbCommand.actualShift))) | (done << IotlbCommand.actualShift),
    )
  }
}

// RAM ends far below 2^31 frames: above, one word stands for all.
const cacheable = (mfn: number): number => (mfn < NO_RAM ? mfn : NO_FRAME)
