/**
 * A Calgary or CalIOC2 chip: four host bridges between PCI buses and memory, programmed through 1 MiB of big-endian registers and tables
 * in memory that it reads without asking CPU caches. Every DMA is translated and performed here; no machine address leaves.
 *
 * What no source tells, and what is taken here. Requests that come while arbitration is stopped would wait for the bus; devices of this
 * board cannot wait, so they are served as if they had won it just before the stop: with what the bridge knows then, and without staying in the
 * split queue. After {@link CalgaryTiming.patience} they give up. A 64-bit address is refused where DAC_DISABLE is set or
 * addresses are translated, and recorded as any error. An aligned write of 4 bytes to 0xFEExxxxx is an interrupt message. A
 * function on a bus that no bridge leads to reaches nothing.
 */
import { type Clock, Count, type DmaTranslator, DmaOutcome, inInterruptWindow } from '@iospace/machine'
import type { Machine, MachineMemory, MmioDevice } from '@iospace/machine'
import { RegisterFile } from '../register-file.ts'
import type { StaleHit, StaleHitHandler } from '../stale-hit.ts'
import { MachineTables, type TableMemory } from '../table-memory.ts'
import { swap32 } from './big-endian.ts'
import { defineRegisters } from './hardware/define-registers.ts'
import { HostBridge } from './hardware/host-bridge.ts'
import { RegisterWrites } from './hardware/register-writes.ts'
import type { CalgaryPersonality } from './personalities.ts'
import { BRIDGES_PER_CHIP } from './spec/pci.ts'
import { Register } from './spec/registers.ts'
import { isUntranslated } from './spec/windows.ts'
import { CalgaryNeed, CalgaryWalk } from './walk.ts'

/** Frame word of a TCE that leads to no RAM; −1 is a miss. */
const NO_FRAME = -2
/** Bytes of the block that anything is in. */
const DEFINED_BYTES = 0xc000
const BUSES = 256

export interface CalgaryHardwareOptions {
  /** How the chip reads tables; default: the board's memory. */
  readonly tables?: TableMemory
}

// Constants of other modules as this module's own: those are what the compiler folds.
const { iotlbHit: HIT, iotlbMiss: MISS } = Count
const { translated: TRANSLATED } = DmaOutcome
const { read: READ, write: WRITE } = CalgaryNeed

export class CalgaryHardware implements DmaTranslator, MmioDevice {
  declare readonly personality: CalgaryPersonality
  /** Told of accesses by forgotten entries; see stale-hit.ts. */
  onStaleHit: StaleHitHandler | null = null
  readonly bridges: readonly HostBridge[]
  declare private readonly machine: Machine
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly counts: Float64Array
  declare private readonly walk: CalgaryWalk
  declare private readonly legacyFirst: number
  readonly #registers = new RegisterFile(DEFINED_BYTES)
  readonly #writes: RegisterWrites
  readonly #byBus: (HostBridge | undefined)[] = Array.from({ length: BUSES }, () => undefined)
  readonly #stale: StaleHit = { requester: 0, hi: 0, lo: 0, write: false, mfn: 0 }

  constructor(machine: Machine, personality: CalgaryPersonality, { tables }: CalgaryHardwareOptions = {}) {
    const { clock, memory } = machine
    const registers = this.#registers
    this.personality = personality
    this.machine = machine
    this.memory = memory
    this.clock = clock
    this.counts = clock.counts
    this.walk = new CalgaryWalk(tables ?? new MachineTables(memory), personality)
    this.legacyFirst = personality.legacyFirst
    defineRegisters(registers, personality)
    this.bridges = Array.from(
      { length: BRIDGES_PER_CHIP },
      (_, index) => new HostBridge(index, registers, memory, clock, personality),
    )
    this.#writes = new RegisterWrites(clock, personality.timing.registerWrite, (offset, value) =>
      this.#write(offset, swap32(value)),
    )
    this.#findBuses()
  }

  /** Whether a bridge of this chip leads to `bus`. */
  leadsTo(bus: number): boolean {
    return this.#byBus[bus] !== undefined
  }

  read32(offset: number): number {
    this.#writes.settle()
    return swap32(this.#read(offset))
  }

  write32(offset: number, value: number): void {
    this.#writes.post(offset, value)
  }

  dmaRead(requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#pieces(requester, hi, lo, at, length, false)
  }

  dmaWrite(requester: number, hi: number, lo: number, at: number, length: number): number {
    return this.#pieces(requester, hi, lo, at, length, true)
  }

  // Piece by piece, none across a page, up to the first that fails. A zero-length request is one piece.
  #pieces(requester: number, hi: number, lo: number, at: number, length: number, write: boolean): number {
    const bridge = this.#byBus[requester >>> 8]
    if (bridge === undefined) return DmaOutcome.unclaimed
    if (bridge.isolated) return this.#refuse(requester, hi, lo, write)
    if (bridge.stopped && this.clock.now - bridge.stoppedAt > this.personality.timing.patience)
      return DmaOutcome.masterDisabled
    if (write && length === 4 && (lo & 3) === 0 && inInterruptWindow(hi, lo)) {
      this.machine.interrupts.message(this.memory.view.getUint32(at, true))
      return DmaOutcome.untranslated
    }
    let done = 0
    for (;;) {
      const sum = (lo >>> 0) + done
      const piece = Math.min(length - done, 0x1000 - (sum & 0xfff))
      const upper = sum > 0xffff_ffff ? (hi + 1) | 0 : hi
      const outcome = this.#piece(bridge, requester, upper, sum | 0, at + done, piece, write)
      done += piece
      if (outcome < 0 || done >= length) return outcome
    }
  }

  #piece(
    bridge: HostBridge,
    requester: number,
    hi: number,
    lo: number,
    at: number,
    length: number,
    write: boolean,
  ): number {
    const need = write ? WRITE : READ
    if (!bridge.translating || isUntranslated(this.legacyFirst, bridge.windows, hi, lo)) {
      if (hi !== 0 && bridge.dualAddressDisabled) return this.#block(bridge, requester, hi, lo, write)
      return this.#pass(hi, lo, at, length, write)
    }
    let frame = hi === 0 ? bridge.cache.find(0, lo >>> 12, 0, need) : -1
    if (frame === -1) {
      frame = this.#miss(bridge, hi, lo, need)
      if (frame === -1) return this.#block(bridge, requester, hi, lo, write)
    } else {
      this.counts[HIT]!++
      if (this.onStaleHit !== null) this.#compare(this.onStaleHit, bridge, requester, lo, write, frame)
    }
    if (frame === NO_FRAME) return DmaOutcome.unclaimed
    const there = (frame << 12) | (lo & 0xfff)
    if (write) {
      this.memory.move(there, at, length)
      if (!bridge.stopped) bridge.posted.record(there, length)
    } else this.memory.move(at, there, length)
    return TRANSLATED
  }

  // The table's answer, kept: a RAM frame index, NO_FRAME, or −1 when it refuses.
  #miss(bridge: HostBridge, hi: number, lo: number, need: number): number {
    const { walk } = this
    this.counts[MISS]!++
    const mfn = walk.entry(bridge.tarHigh, bridge.tarLow, hi, lo, need)
    this.clock.count(Count.walkRead, walk.reads)
    walk.reads = 0
    if (mfn < 0) return -1
    const index = this.memory.frameIndex(mfn)
    const frame = index < 0 ? NO_FRAME : index
    bridge.cache.insert(0, lo >>> 12, 0, walk.rights, frame)
    return frame
  }

  // The request as it stands, on the other side of the bridge.
  #pass(hi: number, lo: number, at: number, length: number, write: boolean): number {
    const there = this.memory.offset(hi, lo)
    if (there < 0) return DmaOutcome.unclaimed
    if (write) this.memory.move(there, at, length)
    else this.memory.move(at, there, length)
    return DmaOutcome.untranslated
  }

  #block(bridge: HostBridge, requester: number, hi: number, lo: number, write: boolean): number {
    bridge.recordError(requester)
    return this.#refuse(requester, hi, lo, write)
  }

  #refuse(requester: number, hi: number, lo: number, write: boolean): number {
    const { trace, clock } = this.machine
    clock.count(Count.dmaFault)
    // The hardware has no reasons.
    if (trace !== null) trace.fault(clock.now, requester, write, (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0), 0)
    return DmaOutcome.blocked
  }

  // A hit: would the table give the same now?
  #compare(
    handler: StaleHitHandler,
    bridge: HostBridge,
    requester: number,
    lo: number,
    write: boolean,
    frame: number,
  ): void {
    const { walk } = this
    const found = walk.entry(bridge.tarHigh, bridge.tarLow, 0, lo, write ? WRITE : READ)
    walk.reads = 0
    const mfn = frame === NO_FRAME ? -1 : this.memory.frameAt(frame)
    if (found === mfn || (found >= 0 && mfn < 0 && this.memory.frameIndex(found) < 0)) return
    const hit = this.#stale
    hit.requester = requester
    hit.hi = 0
    hit.lo = lo
    hit.write = write
    hit.mfn = mfn
    handler(hit)
  }

  // Registers, in the chip's own byte order.
  #read(offset: number): number {
    const index = bridgeOf(offset, Register.bridge)
    if (index >= 0) return this.bridges[index]!.read(offset - Register.bridge[index]!)
    const table = registerOf(offset, Register.table)
    if (table >= 0) return (offset & 4) === 0 ? this.bridges[table]!.tarHigh : this.bridges[table]!.tarLow
    const queue = registerOf(offset, Register.splitQueue)
    if (queue >= 0) return this.bridges[queue]!.queue
    return offset < DEFINED_BYTES ? this.#registers.read(offset) : 0
  }

  #write(offset: number, value: number): void {
    const index = bridgeOf(offset, Register.bridge)
    const table = registerOf(offset, Register.table)
    if (index >= 0) this.bridges[index]!.write(offset - Register.bridge[index]!, value)
    else if (table >= 0) this.bridges[table]!.writeTable((offset & 4) !== 0, value)
    else {
      this.#registers.write(offset, value)
      if (bridgeOf(offset, Register.debug) >= 0) this.#findBuses()
    }
  }

  // Where two bridges claim a bus, the first has it.
  #findBuses(): void {
    this.#byBus.fill(undefined)
    for (const bridge of this.bridges.toReversed())
      for (let bus = bridge.firstBus; bus <= bridge.lastBus; bus++) this.#byBus[bus] = bridge
  }
}

/** Which of the blocks of 4 KiB at `bases` holds `offset`; −1: none. */
function bridgeOf(offset: number, bases: readonly number[]): number {
  return bases.indexOf(offset & ~0xfff)
}

/** Which of the 64-bit registers `registers` has a half at `offset`; −1: none. */
function registerOf(offset: number, registers: readonly number[]): number {
  return registers.indexOf(offset & ~7)
}
