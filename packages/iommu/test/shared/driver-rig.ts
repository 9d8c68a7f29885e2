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
  /**
   * Where the I/O addresses of the tests begin, because the unit has other plans for those below: everything that the rig and its devices
   * are told is relative to it. Default: 0.
   */
  readonly origin?: number
  /** Its tables are runs of frames, without levels: nothing to split, to merge or to reclaim. */
  readonly flat?: boolean
  /** Its fault records tell no address and no direction. */
  readonly vague?: boolean
  /** It keeps nobody out: one table for every device, other addresses pass, and no fault is recorded. */
  readonly open?: boolean
  /** How it stops answering, where that is not a {@link doorbell} that nobody hears: a port that does so while `broken` says so. */
  silence?(port: DriverPort, broken: () => boolean): DriverPort
  /** What a device gets at a page that was unmapped when the invalidation timed out: default 2, for nothing was done. */
  readonly afterTimeout?: number
}

/** Table pages come from frames 128… of RAM, short runs from 64…, those of flat tables from 4096…; devices are given frames in between. */
const RESERVE = 128
const RESERVE_PAGES = 1024
const RUNS = 64
export const DATA = 2048
const FRAMES = 4096
/** Four tables of the largest size, and small ones. */
const FLAT_FRAMES = 5 * 2048

export interface RigOptions {
  /** Table pages that can be had at once, runs not counted. */
  readonly pages?: number
  readonly wrap?: (port: DriverPort) => DriverPort
  readonly timeout?: number
}

export class DriverRig {
  readonly machine: Machine
  readonly unit: Installed
  readonly origin: number
  readonly #flat: boolean
  readonly driver: IommuDriver
  /** Pages that the driver holds, those of runs too. */
  readonly held = new Set<number>()
  pages: number

  constructor(unit: UnitUnderTest, { pages = 1024, wrap = (port) => port, timeout }: RigOptions = {}) {
    this.pages = pages
    this.origin = unit.origin ?? 0
    this.#flat = unit.flat ?? false
    this.machine = new Machine({
      memory: { lowFrames: FRAMES + (this.#flat ? FLAT_FRAMES : 0), highFrames: FRAMES, boardBytes: 1 << 20 },
      seed: 1,
      turn: () => new Promise((resolve) => void setImmediate(resolve)),
    })
    const { memory } = this.machine
    this.unit = unit.install(this.machine)
    const free = Array.from({ length: RESERVE_PAGES }, (_, i) => RESERVE + RESERVE_PAGES - 1 - i)
    const hand = (mfn: number) => {
      memory.fill(memory.frameOffset(mfn), 0, 4096)
      this.held.add(mfn)
      return mfn
    }
    const poison = memory.boardMemory(4096)
    for (let at = poison; at < poison + 4096; at += 8) memory.view.setBigUint64(at, unit.poison, true)
    const port = this.unit.port({
      allocatePage: () => (this.taken >= this.pages ? -1 : hand(free.pop()!)),
      allocateRun: (order) => {
        const first = this.#findRun(2 ** order)
        for (let i = 0; i < 2 ** order && first >= 0; i++) hand(first + i)
        return first
      },
      freePage: (mfn) => {
        if (!this.held.delete(mfn)) throw new Error(`page ${mfn} is freed twice`)
        // Whoever still walks it finds entries that lead everywhere.
        memory.copy(memory.frameOffset(mfn), poison, 4096)
        if (isPage(mfn)) free.unshift(mfn)
      },
    })
    this.driver = this.unit.driver(wrap(port), timeout)
  }

  /** Pages that the driver holds, runs aside. */
  get taken(): number {
    return [...this.held].filter(isPage).length
  }

  /** Where the I/O addresses end that a table of `bits` translates, relative to the origin. */
  end(bits: number): number {
    return Math.min(2 ** bits, this.driver.capabilities.window.end) - this.origin
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
    const io = this.origin + address
    return this.driver.map(table, upper(io), lower(io), mfn, pages, access, exact4k)
  }

  /** The strict unmap: clear, invalidate, wait. */
  unmap(table: number, address: number, pages: number): number {
    const status = this.clear(table, address, pages)
    if (status !== 0) return status
    const queued = this.queue(table, address, pages)
    return queued === 0 ? this.driver.completeInvalidations() : queued
  }

  /** The first half of it. */
  clear(table: number, address: number, pages: number): number {
    const io = this.origin + address
    return this.driver.unmap(table, upper(io), lower(io), pages)
  }

  /** Queues the invalidation. */
  queue(table: number, address: number, pages: number): number {
    const io = this.origin + address
    return this.driver.queueInvalidation(table, upper(io), lower(io), pages)
  }

  frameOf(table: number, address: number): number {
    const io = this.origin + address
    return this.driver.frameOf(table, upper(io), lower(io))
  }

  accessOf(table: number, address: number): number {
    const io = this.origin + address
    return this.driver.accessOf(table, upper(io), lower(io))
  }

  /** Where a write of `requester` goes by the tables in memory: see {@link Installed.walk}. */
  walk(requester: number, address: number): number {
    const io = this.origin + address
    return this.unit.walk(requester, upper(io), lower(io))
  }

  /** Faults of the log, with the address of the page. */
  faults(): IommuFault[] {
    const seen: IommuFault[] = []
    this.driver.drainFaults((fault) => seen.push({ ...fault, lo: (fault.lo - this.origin) & ~0xfff }))
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
    const device = new RigDevice(this.origin)
    this.machine.pci.add(bus, devfn, device)
    this.machine.pci.configWrite((bus << 8) | devfn, Config.command, 2, Command.busMaster)
    return device
  }

  /** A second device, that the unit tells from the first one. */
  other(): RigDevice {
    return this.driver.capabilities.granularity === 'function' ? this.device(16) : this.device(0, this.newBus())
  }

  /** A bus below a new root port. */
  newBus(): number {
    const { pci } = this.machine
    const devfn = 0x20 + this.#buses++
    const bus = pci.addBridge(0, devfn, 'root-port')
    pci.configWrite(devfn, Config.command, 2, Command.busMaster)
    return bus
  }

  #buses = 0

  // The first frame of `frames` consecutive ones, naturally aligned.
  #findRun(frames: number): number {
    if (!this.#flat) return RUNS
    for (let first = FRAMES; first + frames <= FRAMES + FLAT_FRAMES; first += frames)
      if (!Array.from({ length: frames }, (_, i) => first + i).some((mfn) => this.held.has(mfn))) return first
    return -1
  }

  #at(address: number): number {
    const at = this.machine.memory.offset(Math.floor(address / 2 ** 32), address | 0)
    if (at < 0) throw new Error(`0x${address.toString(16)} is no RAM`)
    return at
  }
}

/** A function that moves 8 bytes where the test says, relative to the rig's origin. */
export class RigDevice extends PciFunction {
  #buffer = -1
  readonly #origin: number

  constructor(origin: number) {
    super({ vendorId: 0xf0f0, deviceId: 1, classCode: 0x088000 })
    this.#origin = origin
  }

  put(address: number, value: bigint): number {
    const io = this.#origin + address
    this.root!.memory.view.setBigUint64(this.#at, value, true)
    return this.dmaWrite(upper(io), lower(io), this.#at, 8)
  }

  /** The value at `address`, or the outcome when it is negative. */
  get(address: number): bigint {
    const outcome = this.read(address)
    return outcome < 0 ? BigInt(outcome) : this.root!.memory.view.getBigUint64(this.#at, true)
  }

  read(address: number): number {
    const io = this.#origin + address
    return this.dmaRead(upper(io), lower(io), this.#at, 8)
  }

  get #at(): number {
    if (this.#buffer < 0) this.#buffer = this.root!.memory.boardMemory(4096)
    return this.#buffer
  }

  protected override onReset(): void {}
}

export const upper = (address: number): number => Math.floor(address / 2 ** 32) | 0
export const lower = (address: number): number => address | 0

const isPage = (mfn: number): boolean => mfn >= RESERVE && mfn < RESERVE + RESERVE_PAGES

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
    store32: (mfn, index, value) => inner.store32(mfn, index, value),
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
