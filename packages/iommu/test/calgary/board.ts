/** A board with a Calgary or CalIOC2 chip that tests program by hand: numbers typed from the facts, no driver and no encoder of ours. */
import { setImmediate } from 'node:timers'
import { Command, Config, Count, Machine, PciFunction } from '@iospace/machine'
import {
  CALGARY_BASE,
  CalgaryHardware as Hardware,
  type CalgaryHardware,
  type CalgaryHardwareOptions,
  type CalgaryPersonality,
  calgaryPersonalities,
} from '../../src/hardware.ts'
import type { TableMemory } from '../../src/walk.ts'

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

/** A table of 64 KiB, another one, and pages of RAM that devices work on. */
export const TABLE = 0x200000
export const OTHER = 0x210000
export const PAGE_A = 0x300000
export const PAGE_B = 0x301000
/** An I/O address that is in no window and in reach of every table: entry 0x200. */
export const IOVA = 0x200000

/** Of CONFIG_RW. */
export const TCE_ENABLE = 0x20000000
export const SLOT_DISABLE = 0x1c000000
export const DAC_DISABLE = 0x01000000
export const MEM2_ENABLE = 0x00400000
export const MCSR_ENABLE = 0x00100000

export interface BoardOptions {
  readonly personality?: CalgaryPersonality
  /** Wraps how the chip reads tables. */
  readonly tables?: (machine: Machine) => TableMemory
}

export class Board {
  readonly machine = new Machine({
    memory: { lowFrames: 2048, highFrames: 256, boardBytes: 1 << 20 },
    seed: 1,
    turn,
  })
  readonly chip: CalgaryHardware

  constructor({ personality = calgaryPersonalities.calgary, tables }: BoardOptions = {}) {
    const options: CalgaryHardwareOptions = tables === undefined ? {} : { tables: tables(this.machine) }
    this.chip = new Hardware(this.machine, personality, options)
    this.machine.mmio.map(CALGARY_BASE, 0x100000, this.chip)
    this.machine.pci.translator = this.chip
  }

  /** A 32-bit register, as the chip means it. */
  get(offset: number): number {
    return reversed(this.machine.mmio.read32(CALGARY_BASE + offset))
  }

  set(offset: number, value: number): void {
    this.machine.mmio.write32(CALGARY_BASE + offset, reversed(value))
  }

  /** A 64-bit register. */
  get64(offset: number): bigint {
    return (BigInt(this.get(offset)) << 32n) | BigInt(this.get(offset + 4))
  }

  set64(offset: number, value: bigint): void {
    this.set(offset, Number(value >> 32n))
    this.set(offset + 4, Number(value & 0xffffffffn))
  }

  /** TAR of bridge `index`, written and read back. */
  tar(value: bigint, index = 0): void {
    this.set64(0x580 + 8 * index, value)
    this.get64(0x580 + 8 * index)
  }

  /** CONFIG_RW of bridge `index`, written and read back. */
  config(value: number, index = 0): void {
    this.set(0x8160 + 0x1000 * index, value)
    this.get(0x8160 + 0x1000 * index)
  }

  /** CSR of bridge `index`. */
  csr(index = 0): number {
    return this.get(0x8110 + 0x1000 * index)
  }

  /** Bridge n leads to bus n; bridge 0 translates by TABLE, 64 KiB; entry of IOVA → PAGE_A with both rights. */
  ordinary(): this {
    ;[0x00000000, 0x00010100, 0x00020200, 0x00030300].forEach((stuff, i) => this.set(0x4020 + 0x1000 * i, stuff))
    this.entry(IOVA, BigInt(PAGE_A) | 3n)
    this.tar(BigInt(TABLE))
    this.config(TCE_ENABLE | DAC_DISABLE | MCSR_ENABLE)
    return this
  }

  /** Stores the big-endian TCE of I/O address `iova` in the table at `table`. */
  entry(iova: number, tce: bigint, table = TABLE): void {
    this.store(table + Math.floor(iova / 4096) * 8, tce, false)
  }

  /** A 64-bit word of memory, little-endian unless told otherwise. */
  store(address: number, value: bigint, little = true): void {
    this.machine.memory.view.setBigUint64(this.#at(address), value, little)
  }

  load(address: number): bigint {
    return this.machine.memory.view.getBigUint64(this.#at(address), true)
  }

  /** Lets virtual time pass. */
  elapse(ns: number): void {
    this.machine.clock.charge(Count.relax, Math.ceil(ns / this.machine.clock.preset.relax))
  }

  /** A bus below a root port. */
  bus(): number {
    const devfn = 0x80 + this.#ports++ * 8
    const bus = this.machine.pci.addBridge(0, devfn, 'root-port')
    this.machine.pci.configWrite(devfn, Config.command, 2, Command.busMaster)
    return bus
  }

  #ports = 0

  /** A device that the test drives. */
  device(devfn = 8, bus = 0): Probe {
    const probe = new Probe()
    this.machine.pci.add(bus, devfn, probe)
    this.machine.pci.configWrite((bus << 8) | devfn, Config.command, 2, Command.busMaster)
    return probe
  }

  #at(address: number): number {
    const at = this.machine.memory.offset(Math.floor(address / 2 ** 32), address | 0)
    if (at < 0) throw new Error(`0x${address.toString(16)} is no RAM`)
    return at
  }
}

/** The four bytes of a word the other way round, unsigned. */
export function reversed(word: number): number {
  return new DataView(new Uint32Array([word]).buffer).getUint32(0)
}

/** A function with 64 KiB of board memory that moves what the test says. */
export class Probe extends PciFunction {
  #buffer = -1

  constructor() {
    super({ vendorId: 0xf0f0, deviceId: 1, classCode: 0x088000 })
  }

  /** Writes 64-bit `value` to `address`: the outcome. */
  put(address: number, value: bigint): number {
    return this.write(address, new Uint8Array(new BigUint64Array([value]).buffer))
  }

  /** Reads 64 bits at `address`: the value, or the outcome when it is negative. */
  get(address: number): bigint {
    const outcome = this.read(address, 8)
    return outcome < 0 ? BigInt(outcome) : this.root!.memory.view.getBigUint64(this.buffer, true)
  }

  write(address: number, bytes: Uint8Array): number {
    this.root!.memory.bytes.set(bytes, this.buffer)
    return this.dmaWrite(high(address), low(address), this.buffer, bytes.length)
  }

  read(address: number, length: number): number {
    return this.dmaRead(high(address), low(address), this.buffer, length)
  }

  get buffer(): number {
    if (this.#buffer < 0) this.#buffer = this.root!.memory.boardMemory(65536)
    return this.#buffer
  }

  protected override onReset(): void {}
}

export const high = (address: number): number => Math.floor(address / 2 ** 32) | 0
export const low = (address: number): number => address | 0
