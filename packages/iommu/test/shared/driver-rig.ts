/**
 * A board with any of the units, run by its driver, with a reserve of table pages that is watched: what every driver is tested on. The tests know
 * no registers and no formats; what they need of those is in {@link UnitUnderTest}.
 */
import { setImmediate } from 'node:timers'
import { Command, Config, Count, Machine, PciFunction } from '@iospace/machine'
import type { DriverPort, IommuDriver, IommuFault, MachinePortOptions } from '../../src/driver.ts'

/** What an installed unit tells of itself. */
export interface Installed {
  /** A driver's port on the board, as coherent as the unit is. */
  port(options: Omit<MachinePortOptions, 'coherent'>): DriverPort
  driver(port: DriverPort, timeout?: number): IommuDriver
  /** Where a write request of `requester` at (`hi`:`lo`) goes by the tables in memory: a frame, or −fault. */
  walk(requester: number, hi: number, lo: number): number
}

export interface UnitUnderTest {
  readonly name: string
  install(machine: Machine): Installed
  /** The fault of {@link Installed.walk} for a page that is not mapped. */
  readonly absent: number
  /** The register that tells the unit of new commands: physical address. */
  readonly doorbell: number
  /** An entry that is valid at the leaf level and leads to frame 0x777 with both rights. */
  readonly poison: bigint
}

/** Table pages come from frames 128… of RAM, runs from 64…; devices are given frames far above. */
const RESERVE = 128
const RUNS = 64
export const DATA = 2048
const FRAMES = 4096

export interface RigOptions {
  /** Table pages that can be had at once, runs not counted. */
  readonly pages?: number
  readonly wrap?: (port: DriverPort) => DriverPort
  readonly timeout?: number
}

export class DriverRig {
  readonly machine = new Machine({
    memory: { lowFrames: FRAMES, highFrames: FRAMES, boardBytes: 1 << 20 },
    seed: 1,
    turn: () => new Promise((resolve) => void setImmediate(resolve)),
  })
  readonly unit: Installed
  readonly driver: IommuDriver
  /** Pages that the driver holds, those of runs too. */
  readonly held = new Set<number>()
  pages: number

  constructor(unit: UnitUnderTest, { pages = 1024, wrap = (port) => port, timeout }: RigOptions = {}) {
    this.pages = pages
    const { memory } = this.machine
    this.unit = unit.install(this.machine)
    const free = Array.from({ length: 1024 }, (_, i) => RESERVE + 1023 - i)
    const hand = (mfn: number) => {
      memory.fill(memory.frameOffset(mfn), 0, 4096)
      this.held.add(mfn)
      return mfn
    }
    const port = this.unit.port({
      allocatePage: () => (this.taken >= this.pages ? -1 : hand(free.pop()!)),
      allocateRun: (order) => {
        for (let i = 0; i < 2 ** order; i++) hand(RUNS + i)
        return RUNS
      },
      freePage: (mfn) => {
        if (!this.held.delete(mfn)) throw new Error(`page ${mfn} is freed twice`)
        // Whoever still walks it finds entries that lead everywhere.
        for (let i = 0; i < 512; i++) this.store(mfn * 4096 + i * 8, unit.poison)
        if (mfn >= RESERVE) free.unshift(mfn)
      },
    })
    this.driver = this.unit.driver(wrap(port), timeout)
  }

  /** Pages that the driver holds, runs aside. */
  get taken(): number {
    return [...this.held].filter((mfn) => mfn >= RESERVE).length
  }

  /** The widest table that the unit has. */
  get bits(): number {
    return this.driver.capabilities.addressBits
  }

  /** Enabled, with a table that device 00:01.0 is attached to. */
  start(bits = this.bits): { readonly device: RigDevice; readonly table: number } {
    const { driver } = this
    expectOk(driver.enable())
    const table = driver.createTable(bits)
    if (table < 0) throw new Error(`createTable: ${table}`)
    expectOk(driver.attach(8, table))
    return { device: this.device(), table }
  }

  /** Maps `pages` from byte address `address` on. */
  map(table: number, address: number, mfn: number, pages: number, access = 3, exact4k = false): number {
    return this.driver.map(table, upper(address), lower(address), mfn, pages, access, exact4k)
  }

  /** The strict unmap: clear, invalidate, wait. */
  unmap(table: number, address: number, pages: number): number {
    const { driver } = this
    const status = driver.unmap(table, upper(address), lower(address), pages)
    if (status !== 0) return status
    const queued = driver.queueInvalidation(table, upper(address), lower(address), pages)
    return queued === 0 ? driver.completeInvalidations() : queued
  }

  frameOf(table: number, address: number): number {
    return this.driver.frameOf(table, upper(address), lower(address))
  }

  accessOf(table: number, address: number): number {
    return this.driver.accessOf(table, upper(address), lower(address))
  }

  /** Faults of the log, with the address of the page. */
  faults(): IommuFault[] {
    const seen: IommuFault[] = []
    this.driver.drainFaults((fault) => seen.push({ ...fault, lo: fault.lo & ~0xfff }))
    return seen
  }

  store(address: number, value: bigint): void {
    this.machine.memory.view.setBigUint64(this.#at(address), value, true)
  }

  load(address: number): bigint {
    return this.machine.memory.view.getBigUint64(this.#at(address), true)
  }

  elapse(ns: number): void {
    this.machine.clock.charge(Count.relax, Math.ceil(ns / this.machine.clock.preset.relax))
  }

  device(devfn = 8, bus = 0): RigDevice {
    const device = new RigDevice()
    this.machine.pci.add(bus, devfn, device)
    this.machine.pci.configWrite((bus << 8) | devfn, Config.command, 2, Command.busMaster)
    return device
  }

  #at(address: number): number {
    const at = this.machine.memory.offset(Math.floor(address / 2 ** 32), address | 0)
    if (at < 0) throw new Error(`0x${address.toString(16)} is no RAM`)
    return at
  }
}

/** A function that moves 8 bytes where the test says. */
export class RigDevice extends PciFunction {
  #buffer = -1

  constructor() {
    super({ vendorId: 0xf0f0, deviceId: 1, classCode: 0x088000 })
  }

  put(address: number, value: bigint): number {
    this.root!.memory.view.setBigUint64(this.#at, value, true)
    return this.dmaWrite(upper(address), lower(address), this.#at, 8)
  }

  /** The value at `address`, or the outcome when it is negative. */
  get(address: number): bigint {
    const outcome = this.read(address)
    return outcome < 0 ? BigInt(outcome) : this.root!.memory.view.getBigUint64(this.#at, true)
  }

  read(address: number): number {
    return this.dmaRead(upper(address), lower(address), this.#at, 8)
  }

  get #at(): number {
    if (this.#buffer < 0) this.#buffer = this.root!.memory.boardMemory(4096)
    return this.#buffer
  }

  protected override onReset(): void {}
}

export const upper = (address: number): number => Math.floor(address / 2 ** 32) | 0
export const lower = (address: number): number => address | 0

function expectOk(status: number): void {
  if (status !== 0) throw new Error(`status ${status}`)
}

/** A port that does as `inner`, except for the methods of `changes`. */
export function changed(inner: DriverPort, changes: Partial<DriverPort>): DriverPort {
  return {
    allocatePage: () => inner.allocatePage(),
    allocateRun: (order) => inner.allocateRun(order),
    freePage: (mfn) => inner.freePage(mfn),
    store64: (mfn, index, hi, lo) => inner.store64(mfn, index, hi, lo),
    store128: (mfn, index, hi0, lo0, hi1, lo1) => inner.store128(mfn, index, hi0, lo0, hi1, lo1),
    flushLine: (mfn, index) => inner.flushLine(mfn, index),
    publish64: (mfn, index, hi, lo) => inner.publish64(mfn, index, hi, lo),
    storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => inner.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1),
    loadLow: (mfn, index) => inner.loadLow(mfn, index),
    loadHigh: (mfn, index) => inner.loadHigh(mfn, index),
    read32: (address) => inner.read32(address),
    write32: (address, value) => inner.write32(address, value),
    now: () => inner.now(),
    relax: () => inner.relax(),
    ...changes,
  }
}
