/** A board with an AMD-Vi unit that tests program by hand: numbers typed from the facts, no driver and no encoder of ours. */
import { setImmediate } from 'node:timers'
import { Command, Config, Count, Machine, PciFunction } from '@iospace/machine'
import {
  AMDVI_BASE,
  type AmdviHardware,
  type AmdviHardwareOptions,
  AmdviHardware as Hardware,
  type AmdviPersonality,
  amdviPersonalities,
} from '../../src/hardware.ts'
import type { TableMemory } from '../../src/walk.ts'

export const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

/** Where the hand-made tables and rings lie. */
export const DEVICES = 0x10000
export const L4 = 0x20000
export const L3 = 0x21000
export const L2 = 0x22000
export const L1 = 0x23000
export const COMMANDS = 0x30000
export const STATUS = 0x31000
export const INTERRUPTS = 0x34000
export const EVENTS = 0x38000
/** Two pages of RAM that devices work on. */
export const PAGE_A = 0x100000
export const PAGE_B = 0x101000
/** An I/O address: index 0 at levels 4 and 3, 1 at level 2, 0 at level 1. */
export const IOVA = 0x200000

/** IR and IW of an entry (bits 61, 62). */
export const RW = 0x6000000000000000n

export interface BoardOptions {
  readonly personality?: AmdviPersonality
  readonly lowFrames?: number
  readonly highFrames?: number
  /** Wraps how the unit reaches its tables. */
  readonly tables?: (machine: Machine) => TableMemory
}

export class Board {
  readonly machine: Machine
  readonly unit: AmdviHardware
  #tail = 0
  /** Bytes of the command buffer. */
  ring = 4096

  constructor({
    personality = amdviPersonalities.hats6,
    lowFrames = 1024,
    highFrames = 1024,
    tables,
  }: BoardOptions = {}) {
    this.machine = new Machine({ memory: { lowFrames, highFrames, boardBytes: 1 << 20 }, seed: 1, turn })
    const options: AmdviHardwareOptions = tables === undefined ? {} : { tables: tables(this.machine) }
    this.unit = new Hardware(this.machine, personality, options)
    this.machine.mmio.map(AMDVI_BASE, 0x4000, this.unit)
    this.machine.pci.translator = this.unit.translator
  }

  /** Stores 64-bit words from `address` on. */
  store(address: number, ...values: bigint[]): void {
    values.forEach((value, i) => this.machine.memory.view.setBigUint64(this.#at(address + 8 * i), value, true))
  }

  load(address: number): bigint {
    return this.machine.memory.view.getBigUint64(this.#at(address), true)
  }

  read(offset: number): number {
    return this.machine.mmio.read32(AMDVI_BASE + offset)
  }

  read64(offset: number): bigint {
    return this.machine.mmio.read64(AMDVI_BASE + offset)
  }

  write(offset: number, value: number): void {
    this.machine.mmio.write32(AMDVI_BASE + offset, value)
  }

  write64(offset: number, value: bigint): void {
    this.machine.mmio.write64(AMDVI_BASE + offset, value)
  }

  /** Lets virtual time pass. */
  elapse(ns: number): void {
    this.machine.clock.charge(Count.relax, Math.ceil(ns / this.machine.clock.preset.relax))
  }

  /** Device table entry of `requester`: its quadwords from the first. */
  entry(requester: number, ...quadwords: bigint[]): void {
    this.store(DEVICES + requester * 32, ...quadwords)
  }

  /** Four levels that lead IOVA to `leaf`; every directory grants all. */
  tables(leaf: bigint): void {
    this.store(L4, BigInt(L3) | 0x6000000000000601n)
    this.store(L3, BigInt(L2) | 0x6000000000000401n)
    this.store(L2 + 8, BigInt(L1) | 0x6000000000000201n)
    this.store(L1, leaf)
  }

  /** Function `requester` in domain `domain` with 4 levels, IOVA → `leaf`. */
  ordinary(requester = 8, leaf = BigInt(PAGE_A) | 0x6000000000000001n, domain = 1n): void {
    this.entry(requester, BigInt(L4) | 0x6000000000000803n, domain)
    this.tables(leaf)
  }

  /** Device table of one page (or `pages`), command buffer and event log of 256 entries; Coherent, CmdBufEn, EventLogEn, IommuEn (B.7). */
  turnOn({ pages = 1, control = 0 }: { readonly pages?: number; readonly control?: number } = {}): void {
    this.write64(0x00, BigInt(DEVICES) | BigInt(pages - 1))
    this.write64(0x08, 0x08000000_00030000n)
    this.write64(0x10, 0x08000000_00038000n)
    this.write64(0x18, BigInt(0x1405 | control))
    this.#tail = 0
  }

  turnOff(): void {
    this.write64(0x18, 0n)
  }

  /** Puts a command of four words into the buffer without telling the unit. */
  queue(word0: number, word1: number, word2 = 0, word3 = 0): void {
    const { view } = this.machine.memory
    const at = this.#at(COMMANDS + this.#tail)
    ;[word0, word1, word2, word3].forEach((word, i) => view.setUint32(at + 4 * i, word, true))
    this.#tail = (this.#tail + 16) % this.ring
  }

  /** Tells the unit of all commands so far. */
  tell(): void {
    this.write(0x2008, this.#tail)
  }

  get tail(): number {
    return this.#tail
  }

  /** The buffer was started anew: the next command goes to its beginning. */
  rewind(): void {
    this.#tail = 0
  }

  /** Queues a command and a COMPLETION_WAIT that stores 1 to STATUS, and waits for it. */
  command(word0: number, word1: number, word2 = 0, word3 = 0): void {
    this.queue(word0, word1, word2, word3)
    this.wait()
  }

  wait(): void {
    this.store(STATUS, 0n)
    this.queue(STATUS | 1, 0x10000000, 1)
    this.tell()
    for (let i = 0; this.load(STATUS) !== 1n; i++) {
      if (i > 1000) throw new Error('the command buffer does not answer')
      this.elapse(40)
    }
  }

  /** INVALIDATE_IOMMU_PAGES of everything in `domain`. */
  invalidate(domain = 1): void {
    this.command(0, 0x30000000 | domain, 0xfffff003, 0x7fffffff)
  }

  /** INVALIDATE_DEVTAB_ENTRY. */
  invalidateDevice(requester = 8): void {
    this.command(requester, 0x20000000)
  }

  /** Reads the events that were logged, as quadwords dw1:dw0 and dw3:dw2, and moves the head behind them. */
  events(): string[] {
    const found: string[] = []
    let head = this.read(0x2010)
    for (const tail = this.read(0x2018); head !== tail; head = (head + 16) % 4096) {
      found.push(`${hex(this.load(EVENTS + head))} ${hex(this.load(EVENTS + head + 8))}`)
    }
    this.write(0x2010, head)
    return found
  }

  /** A device that the test drives; bus 0 unless `bus` is another (which has a bridge then). */
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

const hex = (value: bigint): string => value.toString(16).padStart(16, '0')

/** A function with 64 KiB of board memory that moves what the test says. Addresses are numbers or, above 2^53, bigints. */
export class Probe extends PciFunction {
  #buffer = -1

  constructor() {
    super({ vendorId: 0xf0f0, deviceId: 1, classCode: 0x088000 })
  }

  /** Writes 64-bit `value` to `address`: the outcome. */
  put(address: number | bigint, value: bigint): number {
    return this.write(address, new Uint8Array(new BigUint64Array([value]).buffer))
  }

  /** Reads 64 bits at `address`: the value, or the outcome when it is negative. */
  get(address: number | bigint): bigint {
    const outcome = this.read(address, 8)
    return outcome < 0 ? BigInt(outcome) : this.root!.memory.view.getBigUint64(this.buffer, true)
  }

  /** Sends an interrupt message with `data`: the outcome. */
  message(data: number, address = 0xfee00000): number {
    return this.write(address, new Uint8Array(new Uint32Array([data]).buffer))
  }

  write(address: number | bigint, bytes: Uint8Array): number {
    this.root!.memory.bytes.set(bytes, this.buffer)
    return this.dmaWrite(high(address), low(address), this.buffer, bytes.length)
  }

  read(address: number | bigint, length: number): number {
    return this.dmaRead(high(address), low(address), this.buffer, length)
  }

  get buffer(): number {
    if (this.#buffer < 0) this.#buffer = this.root!.memory.boardMemory(65536)
    return this.#buffer
  }

  protected override onReset(): void {}
}

export const high = (address: number | bigint): number => Number(BigInt(address) >> 32n) | 0
export const low = (address: number | bigint): number => Number(BigInt(address) & 0xffffffffn) | 0
