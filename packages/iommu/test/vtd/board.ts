/** A board with a VT-d unit that tests program by hand: numbers typed from the facts, no driver and no encoder of ours. */
import { setImmediate } from 'node:timers'
import { Command, Config, Count, Machine, PciFunction } from '@iospace/machine'
import {
  installVtd,
  VTD_BASE,
  type VtdHardware,
  type VtdHardwareOptions,
  type VtdPersonality,
  vtdPersonalities,
} from '../../src/hardware.ts'

export const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

/** Where the hand-made tables lie. */
export const ROOT = 0x10000
export const CONTEXT = 0x11000
export const L4 = 0x20000
export const L3 = 0x21000
export const L2 = 0x22000
export const L1 = 0x23000
export const QUEUE = 0x30000
export const STATUS = 0x31000
/** Interrupt remapping table. */
export const ENTRIES = 0x38000
/** Two pages of RAM that devices work on. */
export const PAGE_A = 0x100000
export const PAGE_B = 0x101000
/** An I/O address of the facts (F.1): L4 index 0, L3 0, L2 1, L1 0. */
export const IOVA = 0x200000

export interface BoardOptions {
  readonly personality?: VtdPersonality
  readonly lowFrames?: number
  readonly highFrames?: number
  readonly options?: (machine: Machine) => VtdHardwareOptions
}

export interface Fault {
  readonly reason: number
  readonly requester: number
  readonly address: bigint
  readonly read: boolean
}

export class Board {
  readonly machine: Machine
  readonly unit: VtdHardware
  readonly #personality: VtdPersonality
  #tail = 0

  constructor({
    personality = vtdPersonalities.qemu48,
    lowFrames = 1024,
    highFrames = 1024,
    options = () => ({}),
  }: BoardOptions = {}) {
    this.machine = new Machine({ memory: { lowFrames, highFrames, boardBytes: 1 << 20 }, seed: 1, turn })
    this.unit = installVtd(this.machine, personality, options(this.machine))
    this.#personality = personality
  }

  /** Stores 64-bit words from `address` on. */
  store(address: number, ...values: bigint[]): void {
    values.forEach((value, i) => this.machine.memory.view.setBigUint64(this.#at(address + 8 * i), value, true))
  }

  load(address: number): bigint {
    return this.machine.memory.view.getBigUint64(this.#at(address), true)
  }

  read(offset: number): number {
    return this.machine.mmio.read32(VTD_BASE + offset)
  }

  read64(offset: number): bigint {
    return this.machine.mmio.read64(VTD_BASE + offset)
  }

  write(offset: number, value: number): void {
    this.machine.mmio.write32(VTD_BASE + offset, value)
  }

  write64(offset: number, value: bigint): void {
    this.machine.mmio.write64(VTD_BASE + offset, value)
  }

  /** Lets virtual time pass, in the steps of a polling loop. */
  elapse(ns: number): void {
    for (const end = this.machine.clock.now + ns; this.machine.clock.now < end;) this.machine.clock.charge(Count.relax)
  }

  /** Reads the register until `mask` of it is `wanted`; an error after 100 µs. */
  until(offset: number, mask: number, wanted: number): void {
    for (let i = 0; (this.read(offset) & mask) !== (wanted | 0); i++) {
      if (i > 200) throw new Error(`register 0x${offset.toString(16)} stays 0x${this.read(offset).toString(16)}`)
    }
  }

  /** Root table of bus 0 and the context entry of function `devfn`, both quadwords by hand. */
  context(devfn: number, low: bigint, high: bigint): void {
    this.store(ROOT, BigInt(CONTEXT) | 1n, 0n)
    this.store(CONTEXT + devfn * 16, low, high)
  }

  /** Four levels that lead IOVA to `leaf`; every directory grants all. */
  tables(leaf: bigint): void {
    this.store(L4, BigInt(L3) | 3n)
    this.store(L3, BigInt(L2) | 3n)
    this.store(L2 + 8, BigInt(L1) | 3n)
    this.store(L1, leaf)
  }

  /** Tables for function `devfn` in domain `domain`, AW code 2 (48 bits), IOVA → `leaf`. */
  ordinary(devfn = 8, leaf = BigInt(PAGE_A) | 3n, domain = 1): void {
    this.context(devfn, BigInt(L4) | 1n, BigInt((domain << 8) | 2))
    this.tables(leaf)
  }

  /** RTADDR, SRTP, TE, each polled (A.6). */
  turnOn(): void {
    this.write64(0x20, BigInt(ROOT))
    this.write(0x18, 0x40000000 | this.#persistent())
    this.until(0x1c, 0x40000000, 0x40000000)
    this.write(0x18, 0x80000000 | this.#persistent())
    this.until(0x1c, 0x80000000, 0x80000000)
  }

  turnOff(): void {
    this.write(0x18, this.#persistent() & 0x7fffffff)
    this.until(0x1c, 0x80000000, 0)
  }

  /** IQT = 0, IQA, QIE (A.6). */
  queueOn(): void {
    this.write64(0x88, 0n)
    this.write64(0x90, BigInt(QUEUE))
    this.write(0x18, 0x04000000 | this.#persistent())
    this.until(0x1c, 0x04000000, 0x04000000)
    this.#tail = 0
  }

  /** IRTA, SIRTP, IRE, each polled (A.6). `low` holds EIME (bit 11) and S (3:0: 2^(S+1) entries). */
  remapOn(low = 0x7n): void {
    this.write64(0xb8, BigInt(ENTRIES) | low)
    this.write(0x18, 0x01000000 | this.#persistent())
    this.until(0x1c, 0x01000000, 0x01000000)
    this.write(0x18, 0x02000000 | this.#persistent())
    this.until(0x1c, 0x02000000, 0x02000000)
  }

  /** Sets the interrupt remapping entry `index`, both quadwords by hand. */
  entry(index: number, low: bigint, high = 0n): void {
    this.store(ENTRIES + index * 16, low, high)
  }

  /** Vectors that the CPU was sent so far. */
  vectors(): number[] {
    return [...this.machine.interrupts.received].flatMap((count, vector) => Array.from({ length: count }, () => vector))
  }

  /** Puts a descriptor into the queue without telling the unit. */
  queue(low: bigint, high = 0n): void {
    this.store(QUEUE + this.#tail, low, high)
    this.#tail = (this.#tail + 16) % 0x1000
  }

  /** Tells the unit of all descriptors so far. */
  ring(): void {
    this.write(0x88, this.#tail)
  }

  get tail(): number {
    return this.#tail
  }

  /** Queues `low`, `high` and a wait that writes STATUS, and waits for it. */
  invalidate(low: bigint, high = 0n): void {
    this.store(STATUS, 0n)
    this.queue(low, high)
    this.queue(0x00000001_00000025n, BigInt(STATUS))
    this.ring()
    for (let i = 0; this.load(STATUS) !== 1n; i++) {
      if (i > 1000) throw new Error('the queue does not answer')
      this.elapse(40)
    }
  }

  /** Reads and clears every fault record, from FRI on, as a driver does (A.4). */
  faults(): Fault[] {
    const { faultRecordOffset, faultRecords } = this.#personality.capabilities
    const found: Fault[] = []
    const status = this.read(0x34)
    for (let i = 0; i < faultRecords && (status & 2) !== 0; i++) {
      const at = faultRecordOffset + ((((status >>> 8) & 0xff) + i) % faultRecords) * 16
      const top = this.read(at + 12)
      if (top < 0x80000000) break
      found.push({
        reason: top & 0xff,
        requester: this.read(at + 8) & 0xffff,
        address: this.read64(at),
        read: (top & 0x40000000) !== 0,
      })
      this.write(at + 12, 0x80000000)
    }
    this.write(0x34, 1)
    return found
  }

  /** A device that the test drives; bus 0 unless `bus` is another (which has a bridge then). */
  device(devfn = 8, bus = 0): Probe {
    const probe = new Probe()
    this.machine.pci.add(bus, devfn, probe)
    this.machine.pci.configWrite((bus << 8) | devfn, Config.command, 2, Command.busMaster)
    return probe
  }

  #persistent(): number {
    return this.read(0x1c) & 0x96800000
  }

  #at(address: number): number {
    const at = this.machine.memory.offset(Math.floor(address / 2 ** 32), address | 0)
    if (at < 0) throw new Error(`0x${address.toString(16)} is no RAM`)
    return at
  }
}

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

  /** Sends an interrupt message: the outcome. */
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

const high = (address: number | bigint): number => Number(BigInt(address) >> 32n) | 0
const low = (address: number | bigint): number => Number(BigInt(address) & 0xffffffffn) | 0
