/**
 * One node's northbridge: its configuration registers, and what they drive. Registers lose their values with the power; firmware and
 * drivers write them anew.
 */
import { Config, PciFunction } from '@iospace/machine'
import type { ClockTimer, Machine } from '@iospace/machine'
import type { TableMemory } from '../../table-memory.ts'
import type { GartPersonality } from '../personalities.ts'
import { frameOf } from '../spec/entries.ts'
import { Fault } from '../spec/faults.ts'
import { NORTHBRIDGE_CLASS, NORTHBRIDGE_VENDOR } from '../spec/northbridge.ts'
import {
  APERTURE_BASE_WRITABLE,
  ApertureControl,
  CacheControl,
  MACHINE_CHECK_WALK,
  MachineCheckStatus,
  Register,
  TABLE_BASE_WRITABLE,
} from '../spec/registers.ts'
import { NodeTranslator } from './translator.ts'

/** More functions than this one sit at its device number. */
const MULTI_FUNCTION = 0x80

export class Northbridge extends PciFunction {
  declare readonly translator: NodeTranslator
  /** Called when F3x90, F3x94 or F3x98 was written, or lost. */
  onConfigured: () => void = () => {}
  /** The machine check of a failed table walk, which is only raised while F3x40 bit 10 is set. */
  onMachineCheck: (() => void) | null = null
  /** Reads that erratum 156 made of pages that entries without V named, so far. */
  errantReads = 0
  declare private readonly machine: Machine
  declare private readonly personality: GartPersonality
  declare private readonly forget: ClockTimer
  declare private readonly finish: ClockTimer

  constructor(machine: Machine, personality: GartPersonality, tables: TableMemory) {
    super({ vendorId: NORTHBRIDGE_VENDOR, deviceId: personality.deviceId, classCode: NORTHBRIDGE_CLASS })
    const { config } = this
    config.define(Config.headerType, 1, MULTI_FUNCTION)
    config.define(Register.machineCheckControl, 4, 0, MACHINE_CHECK_WALK)
    for (const register of [Register.machineCheckStatus, Register.machineCheckAddress]) {
      config.define(register, 4, 0, -1)
      config.define(register + 4, 4, 0, -1)
    }
    config.define(Register.apertureControl, 4, 0, ApertureControl.writable)
    config.define(Register.apertureBase, 4, 0, APERTURE_BASE_WRITABLE)
    config.define(Register.tableBase, 4, 0, TABLE_BASE_WRITABLE)
    config.define(Register.cacheControl, 4, 0, 0, CacheControl.walkFailed)
    this.machine = machine
    this.personality = personality
    this.translator = new NodeTranslator(machine, personality, tables, (fault, hi, lo, write, entry) =>
      this.#walkFailed(fault, hi, lo, write, entry),
    )
    this.forget = machine.clock.timer(() => {
      this.translator.invalidate()
      this.finish.start(personality.timing.postedWrite)
    })
    this.finish = machine.clock.timer(() => this.#setInvalidating(0))
  }

  /** The value of F3x90. */
  get apertureControl(): number {
    return this.config.read(Register.apertureControl, 4)
  }

  /** @internal */ override configWrite(offset: number, size: number, value: number): void {
    super.configWrite(offset, size, value)
    const { cacheControl } = Register
    const reaches = offset <= cacheControl && cacheControl < offset + size
    if (reaches && (Math.floor(value / 256 ** (cacheControl - offset)) & CacheControl.invalidate) !== 0) {
      this.#setInvalidating(CacheControl.invalidate)
      // Asked again while it works, it starts again: what changed meanwhile must be forgotten too.
      this.finish.cancel()
      this.forget.start(this.personality.timing.invalidation)
    }
    if (offset + size > Register.apertureControl && offset < cacheControl) this.#configured()
  }

  protected override onReset(): void {
    this.forget.cancel()
    this.finish.cancel()
    this.translator.invalidate()
    this.#configured()
  }

  #configured(): void {
    const { config } = this
    this.translator.configure(
      this.apertureControl | 0,
      config.read(Register.apertureBase, 4) | 0,
      config.read(Register.tableBase, 4) | 0,
    )
    this.onConfigured()
  }

  #setInvalidating(bit: number): void {
    const value = this.config.read(Register.cacheControl, 1)
    this.config.set(Register.cacheControl, 1, (value & ~CacheControl.invalidate) | bit)
  }

  #walkFailed(fault: number, hi: number, lo: number, write: boolean, entry: number): void {
    const { config } = this
    config.set(Register.cacheControl, 1, config.read(Register.cacheControl, 1) | CacheControl.walkFailed)
    this.#logMachineCheck(hi, lo)
    if (this.personality.erratum156 && fault === Fault.invalidEntry && !write) this.#errantRead(frameOf(entry), lo)
  }

  // The first error stays until software clears it; later ones only say that there were more.
  #logMachineCheck(hi: number, lo: number): void {
    const { config } = this
    const { machineCheckStatus, machineCheckAddress } = Register
    const { valid, uncorrected, addressValid, overflow, reported, walk } = MachineCheckStatus
    const raised = (config.read(Register.machineCheckControl, 4) & MACHINE_CHECK_WALK) !== 0
    const before = config.read(machineCheckStatus + 4, 4) | 0
    if ((before & valid) !== 0) config.set(machineCheckStatus + 4, 4, (before | overflow) >>> 0)
    else {
      config.set(machineCheckStatus, 4, walk)
      config.set(machineCheckStatus + 4, 4, (valid | uncorrected | addressValid | (raised ? reported : 0)) >>> 0)
      config.set(machineCheckAddress, 4, (lo & ~7) >>> 0)
      config.set(machineCheckAddress + 4, 4, hi >>> 0)
    }
    if (raised) this.onMachineCheck?.()
  }

  // A register block with effects on reading has them now. What comes out of the GART does not go into it again.
  #errantRead(mfn: number, lo: number): void {
    this.errantReads++
    const { mmio } = this.machine
    const { base, bytes } = this.translator.cpuAperture
    const address = mfn * 4096 + (lo & 0xffc)
    if ((address < base || address >= base + bytes) && mmio.claims(address)) mmio.read32(address)
  }
}
