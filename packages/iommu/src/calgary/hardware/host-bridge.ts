/**
 * One host bridge (PHB) of a chip: what its registers make of the requests that come from its bus, its TCE cache, and the writes that are on
 * their way through it.
 *
 * What no source tells, and what is taken here: CSR bit 31 is the error, its agent is the device number of the request; it holds the first
 * error until it is cleared, and only with MCSR_ENABLE; PLSSR bit 31 shows the same. SLOT_DISABLE isolates when all of its bits are set.
 * What the bits of AER mean one by one is not known: 0 stops arbitration, anything else does not.
 */
import { type Clock, Count, type MachineMemory } from '@iospace/machine'
import { TranslationBank } from '../../cache/translation-bank.ts'
import { PostedWrites } from '../../posted-writes.ts'
import type { RegisterFile } from '../../register-file.ts'
import type { CalgaryPersonality } from '../personalities.ts'
import {
  BridgeConfig,
  BridgeRegister,
  BusRange,
  CalIoc2Register,
  ChannelStatus,
  DebugRegister,
  Migration,
  Register,
} from '../spec/registers.ts'
import { mebibyteOf, NO_WINDOWS, type PeripheralWindows } from '../spec/windows.ts'

/** CSR and PLSSR: an error. */
const ERROR = 0x8000_0000 | 0
/** The queue shows up to so many requests, a zero bit each in every byte: the lowest byte is the same in either byte order. */
const QUEUE_ENTRIES = 8
const EVERY_BYTE = 0x0101_0101

export class HostBridge {
  /** TAR. */
  tarHigh = 0
  tarLow = 0
  /** CONFIG_RW, taken apart. */
  translating = false
  isolated = false
  dualAddressDisabled = false
  /** Arbitration is stopped, or the bridge is in soft or hard stop: no request enters the split queue. */
  stopped = false
  /** When that began. */
  stoppedAt = 0
  /** Soft stops to come that fail. What makes silicon fail is not known: only tests set it. */
  softStopFaults = 0
  readonly windows: PeripheralWindows = { ...NO_WINDOWS }
  /**
   * TCEs by page, all under one tag; frame words: RAM frame index, or a negative one for none. Entries that grant nothing are not kept: drivers
   * map without telling the chip.
   */
  declare readonly cache: TranslationBank
  declare readonly posted: PostedWrites
  declare private readonly registers: RegisterFile
  declare private readonly clock: Clock
  declare private readonly frames: number
  declare private readonly migrates: boolean
  readonly #index: number
  readonly #base: number
  /** The upper half of a TAR write whose lower half is yet to come. */
  #latch = 0

  constructor(
    index: number,
    registers: RegisterFile,
    memory: MachineMemory,
    clock: Clock,
    { cache, timing, migration }: CalgaryPersonality,
  ) {
    this.cache = new TranslationBank(cache)
    this.posted = new PostedWrites(memory, clock, timing.postedWrite)
    this.registers = registers
    this.clock = clock
    this.frames = memory.frames
    this.migrates = migration
    this.#index = index
    this.#base = Register.bridge[index]!
    this.configure()
  }

  /** First and last bus behind the bridge, from its “stuff” register. */
  get firstBus(): number {
    return (this.#stuff >>> BusRange.firstShift) & BusRange.busMask
  }

  get lastBus(): number {
    return (this.#stuff >>> BusRange.lastShift) & BusRange.busMask || this.firstBus
  }

  /** The CPU reads the register at `offset` of this bridge: what it holds then. Reading PMCR in soft stop forces hard stop. */
  read(offset: number): number {
    if (offset === CalIoc2Register.migrationControl && this.#softStopped) {
      this.#set(offset, this.#get(offset) | Migration.hardStop)
      this.configure()
    }
    return this.registers.read(this.#base + offset)
  }

  /** Half of the split queue: all ones in every byte when it is empty and nothing can come. */
  get queue(): number {
    const { underway } = this.posted
    return Math.imul((0xff << Math.min(underway, QUEUE_ENTRIES)) & 0xff, EVERY_BYTE)
  }

  /** The CPU wrote `value` to the register at `offset` of this bridge. */
  write(offset: number, value: number): void {
    if (offset === BridgeRegister.channelStatus) {
      if (value === 0) {
        this.#set(BridgeRegister.channelStatus, 0)
        this.#set(BridgeRegister.localStatus, 0)
      }
      return
    }
    this.registers.write(this.#base + offset, value)
    if (offset === CalIoc2Register.migrationControl && this.migrates) this.#migrate((value & Migration.softStop) !== 0)
    this.configure()
  }

  /** Half of a TAR write: the upper one waits for the lower one, which loads both and forgets every TCE. */
  writeTable(lower: boolean, value: number): void {
    if (!lower) {
      this.#latch = value
      return
    }
    this.tarHigh = this.#latch
    this.tarLow = value
    this.clock.count(Count.invalidation)
    this.cache.dropAll()
    // What has not left the bridge yet has been translated by the old entries.
    this.posted.overtake(0, this.frames)
  }

  /** A request of `requester` was refused. */
  recordError(requester: number): void {
    const enabled = (this.#get(BridgeRegister.config) & BridgeConfig.statusEnable) !== 0
    if (!enabled || this.#get(BridgeRegister.channelStatus) !== 0) return
    const agent = (requester >>> 3) & ChannelStatus.agentMask
    this.#set(BridgeRegister.channelStatus, ERROR | (agent << ChannelStatus.agentShift))
    this.#set(BridgeRegister.localStatus, ERROR)
  }

  /** Makes of the registers what requests need. */
  configure(): void {
    const config = this.#get(BridgeRegister.config)
    this.translating = (config & BridgeConfig.tableEnable) !== 0
    this.isolated = (config & BridgeConfig.slotDisable) === BridgeConfig.slotDisable
    this.dualAddressDisabled = (config & BridgeConfig.dualAddressDisable) !== 0
    const hardStopped = (this.#get(CalIoc2Register.migrationControl) & Migration.hardStop) !== 0
    const stopped = this.#get(BridgeRegister.arbitration) === 0 || hardStopped || this.#softStopped
    if (stopped && !this.stopped) this.stoppedAt = this.clock.now
    this.stopped = stopped
    const { windows } = this
    const { memory1BaseLow, memory1BaseHigh, memory1Limit } = BridgeRegister
    windows.memory1First = mebibyteOf(this.#get(memory1BaseHigh), this.#get(memory1BaseLow))
    windows.memory1Last = mebibyteOf(0, this.#get(memory1Limit))
    const { memory2BaseLow, memory2BaseHigh, memory2LimitLow, memory2LimitHigh } = BridgeRegister
    const second = (config & BridgeConfig.memory2Enable) !== 0
    windows.memory2First = second ? mebibyteOf(this.#get(memory2BaseHigh), this.#get(memory2BaseLow)) : 1
    windows.memory2Last = second ? mebibyteOf(this.#get(memory2LimitHigh), this.#get(memory2LimitLow)) : 0
  }

  get #stuff(): number {
    return this.registers.get(Register.debug[this.#index]! + DebugRegister.busRange)
  }

  get #softStopped(): boolean {
    return (
      (this.#get(CalIoc2Register.migrationControl) & Migration.softStop) !== 0 &&
      (this.#get(CalIoc2Register.migrationDebug) & Migration.softStopFault) === 0
    )
  }

  // PMCR was written; each soft stop that is asked for works or does not.
  #migrate(softStop: boolean): void {
    const fault = softStop && this.softStopFaults > 0
    if (fault) this.softStopFaults--
    this.#set(CalIoc2Register.migrationDebug, fault ? Migration.softStopFault : 0)
  }

  #get(offset: number): number {
    return this.registers.get(this.#base + offset)
  }

  #set(offset: number, value: number): void {
    this.registers.set(this.#base + offset, value)
  }
}
