/**
 * A host bridge as software sees it. Its cache of TCEs is emptied by writing TAR, and that is safe only while no request is under way, so that
 * every change of TAR goes through {@link DriverBridge.blast}. Order of operations: Linux calgary_tce_cache_blast and
 * calioc2_tce_cache_blast; facts C.1.
 */
import type { DriverPort } from '../../iommu-driver.ts'
import { swap32 } from '../big-endian.ts'
import {
  BridgeConfig,
  BridgeRegister,
  BusRange,
  CalIoc2Register,
  ChannelStatus,
  Configuration,
  DebugRegister,
  Migration,
  Register,
  SAVIOR_RECOMMENDED,
  SPLIT_QUEUE_EMPTY,
  TRIES,
} from '../spec/registers.ts'
import { TableRegister } from '../spec/tce.ts'
import { mebibyteOf } from '../spec/windows.ts'

/** What AER holds where whoever was here before left arbitration stopped: everyone may win the bus. */
const EVERYONE = -1
/** What translation needs of CONFIG_RW. */
const TRANSLATION = BridgeConfig.tableEnable | BridgeConfig.dualAddressDisable | BridgeConfig.statusEnable
const MEBIBYTE = 0x10_0000

export class DriverBridge {
  declare readonly firstBus: number
  declare readonly lastBus: number
  /** Handle of the table that TAR is to lead to. */
  table = 0
  /** What the bridge may still know is not what {@link table} says: a blast is due. */
  stale = false
  declare private readonly port: DriverPort
  declare private readonly migrates: boolean
  readonly #chip: number
  readonly #index: number
  readonly #base: number
  /** TAR as it is to be; the bits that software does not own as they were found. */
  #tarHigh = 0
  #tarLow = 0

  /** Bridge `index` of the chip with registers at `chip`; `migrates`: it is a CalIOC2. */
  constructor(port: DriverPort, chip: number, index: number, migrates: boolean) {
    this.port = port
    this.migrates = migrates
    this.#chip = chip
    this.#index = index
    this.#base = Register.bridge[index]!
    const stuff = this.#read(Register.debug[index]! + DebugRegister.busRange)
    this.firstBus = (stuff >>> BusRange.firstShift) & BusRange.busMask
    this.lastBus = (stuff >>> BusRange.lastShift) & BusRange.busMask || this.firstBus
  }

  /** Peripheral windows that firmware opened: ranges [first byte, byte behind], in whole MiB. */
  windows(): [number, number][] {
    const found: [number, number][] = []
    const add = (first: number, last: number): void => {
      if (first <= last) found.push([first * MEBIBYTE, (last + 1) * MEBIBYTE])
    }
    const { memory1BaseLow, memory1BaseHigh, memory1Limit } = BridgeRegister
    add(mebibyteOf(this.#get(memory1BaseHigh), this.#get(memory1BaseLow)), mebibyteOf(0, this.#get(memory1Limit)))
    if ((this.#get(BridgeRegister.config) & BridgeConfig.memory2Enable) !== 0) {
      const { memory2BaseLow, memory2BaseHigh, memory2LimitLow, memory2LimitHigh } = BridgeRegister
      add(
        mebibyteOf(this.#get(memory2BaseHigh), this.#get(memory2BaseLow)),
        mebibyteOf(this.#get(memory2LimitHigh), this.#get(memory2LimitLow)),
      )
    }
    return found
  }

  /**
   * Takes the bridge over from firmware or from a kernel that crashed, possibly inside a blast: the table at frame `first` is its translation,
   * its errors are forgotten, its slots are on, and translation is. False when the bus did not get quiet.
   */
  takeOver(table: number, first: number, code: number): boolean {
    if (this.migrates) this.#put(CalIoc2Register.migrationControl, 0)
    if (this.#get(BridgeRegister.arbitration) === 0) this.#put(BridgeRegister.arbitration, EVERYONE)
    this.#tarHigh = this.#read(Register.table[this.#index]!)
    this.#tarLow = this.#read(Register.table[this.#index]! + 4)
    this.point(table, first, code)
    const quiet = this.blast()
    this.#quirks()
    this.clearError()
    const config = this.#get(BridgeRegister.config) & ~BridgeConfig.slotDisable
    this.#put(BridgeRegister.config, config | TRANSLATION)
    this.#get(BridgeRegister.config)
    return quiet
  }

  /** Turns translation off, and TAR to nothing. False when the bus did not get quiet. */
  release(): boolean {
    this.#put(BridgeRegister.config, this.#get(BridgeRegister.config) & ~TRANSLATION)
    this.#get(BridgeRegister.config)
    this.#tarHigh &= ~TableRegister.softwareHigh
    this.#tarLow &= ~TableRegister.softwareLow
    this.table = 0
    return this.blast()
  }

  /** What TAR is to be from the next {@link blast} on: the table at frame `first`. Bits that software does not own stay. */
  point(table: number, first: number, code: number): void {
    this.table = table
    this.stale = true
    this.#tarHigh = (this.#tarHigh & ~TableRegister.softwareHigh) | (first >>> 20)
    this.#tarLow = (this.#tarLow & ~TableRegister.softwareLow) | (first << 12) | code
  }

  /**
   * Stops the bus, waits until nothing is under way, writes TAR (which empties the cache), lets the bus go on. False when it did not get
   * quiet: then TAR is written as well, because the sooner new requests meet the new table the better, but what was under way may
   * still land, and the bridge stays {@link stale}.
   */
  blast(): boolean {
    const quiet = this.migrates ? this.#blastCalIoc2() : this.#blastCalgary()
    this.stale = !quiet
    return quiet
  }

  /** CSR if it holds an error, else 0. */
  error(): number {
    const status = this.#get(BridgeRegister.channelStatus)
    return (status & ChannelStatus.errorMask) === 0 ? 0 : status
  }

  clearError(): void {
    this.#put(BridgeRegister.channelStatus, 0)
    this.#get(BridgeRegister.channelStatus)
  }

  #blastCalgary(): boolean {
    const arbitration = this.#get(BridgeRegister.arbitration)
    this.#put(BridgeRegister.arbitration, 0)
    this.#get(BridgeRegister.localStatus)
    const quiet = this.#waitForQueue()
    this.#writeTable()
    this.#put(BridgeRegister.arbitration, arbitration)
    this.#get(BridgeRegister.arbitration)
    return quiet
  }

  #blastCalIoc2(): boolean {
    const { migrationControl, migrationDebug } = CalIoc2Register
    let quiet = false
    for (let round = 1; round < TRIES; round++) {
      this.#put(migrationControl, this.#get(migrationControl) | Migration.softStop)
      quiet = this.#waitForQueue()
      if ((this.#get(migrationDebug) & Migration.softStopFault) === 0) break
      quiet = false
    }
    // Reading it makes the soft stop a hard one.
    this.#get(migrationControl)
    this.#writeTable()
    this.#get(migrationControl)
    this.#put(migrationControl, 0)
    this.#get(migrationControl)
    return quiet
  }

  // The queue is read as it is, in the CPU's byte order: its lowest byte is the one that tells.
  #waitForQueue(): boolean {
    const { port } = this
    const queue = this.#chip + Register.splitQueue[this.#index]!
    for (let i = 0; i < TRIES; i++) {
      const value = port.read32(queue)
      port.read32(queue + 4)
      if ((value & 0xff) === SPLIT_QUEUE_EMPTY) return true
    }
    return false
  }

  #writeTable(): void {
    this.#write(Register.table[this.#index]!, this.#tarHigh)
    this.#write(Register.table[this.#index]! + 4, this.#tarLow)
  }

  // What Linux sets beside: CalIOC2's recommended bit, and 2 s for split completions on the bus of Calgary's SAS controller.
  #quirks(): void {
    if (this.migrates) {
      this.#put(CalIoc2Register.savior, this.#get(CalIoc2Register.savior) | SAVIOR_RECOMMENDED)
      this.#get(CalIoc2Register.savior)
      return
    }
    if (this.firstBus > 1 || this.lastBus < 1) return
    const shift = Configuration.timerShifts[this.#index]!
    const half = Register.configuration + (shift < 32 ? 4 : 0)
    const value = this.#read(half) & ~(Configuration.timerMask << (shift & 31))
    this.#write(half, value | (Configuration.timer2s << (shift & 31)))
    this.#read(half)
  }

  // Registers of the bridge, and of the chip, in the chip's byte order.
  #get(offset: number): number {
    return this.#read(this.#base + offset)
  }

  #put(offset: number, value: number): void {
    this.#write(this.#base + offset, value)
  }

  #read(offset: number): number {
    return swap32(this.port.read32(this.#chip + offset))
  }

  #write(offset: number, value: number): void {
    this.port.write32(this.#chip + offset, swap32(value))
  }
}
