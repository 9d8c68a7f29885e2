/** A board with northbridges that tests program by hand: numbers typed from the facts, no driver and no encoder of ours. */
import { Command, Config, Count, Machine } from '@iospace/machine'
import {
  type GartHardware,
  type GartHardwareOptions,
  type GartPersonality,
  gartPersonalities,
  installGart,
  type StaleHit,
} from '../../src/hardware.ts'
import type { TableMemory } from '../../src/walk.ts'
import { Probe, turn } from '../amdvi/board.ts'

export { high, low, Probe } from '../amdvi/board.ts'

/** Configuration registers of function 3. */
export const CONTROL = 0x90
export const BASE = 0x94
export const TABLE_BASE = 0x98
export const CACHE = 0x9c
/** The aperture: 32 MiB from 3 GiB, F3x94 = 0xC0000000 >> 25. */
export const APERTURE = 0xc000_0000
export const APERTURE_BASE = 0x60
/** The table, 32 KiB: F3x98 = (0x100000 >> 12) << 4. */
export const TABLE = 0x10_0000
export const TABLE_REGISTER = 0x1000
/** Two pages of RAM that devices work on. */
export const PAGE_A = 0x20_0000
export const PAGE_B = 0x20_1000
/** Entries that lead there: valid, coherent. */
export const TO_A = 0x0020_0003
export const TO_B = 0x0020_1003
/** Time from InvGart to an empty TLB, and from there to the last write. */
export const EMPTIED = 200
export const LANDED = 600

export interface BoardOptions extends Omit<GartHardwareOptions, 'tables'> {
  readonly personality?: GartPersonality
  readonly lowFrames?: number
  readonly tables?: (machine: Machine) => TableMemory
}

export class Board {
  readonly machine: Machine
  readonly gart: GartHardware

  constructor({ personality = gartPersonalities.k8, lowFrames = 4096, tables, ...options }: BoardOptions = {}) {
    this.machine = new Machine({ memory: { lowFrames, highFrames: 1024, boardBytes: 1 << 20 }, seed: 1, turn })
    this.gart = installGart(this.machine, personality, {
      ...options,
      ...(tables === undefined ? {} : { tables: tables(this.machine) }),
    })
  }

  /** Configuration space of node `node`: bus 0, device 24 + node, function 3. */
  read(register: number, node = 0, size = 4): number {
    return this.machine.pci.configRead(0xc3 + 8 * node, register, size)
  }

  write(register: number, value: number, node = 0, size = 4): void {
    this.machine.pci.configWrite(0xc3 + 8 * node, register, size, value)
  }

  /** Entry `page` of the table. */
  entry(page: number, value: number): void {
    this.store32(TABLE + 4 * page, value)
  }

  /** 32 MiB from {@link APERTURE}, its table at {@link TABLE}, on `node`, enabled with `control`. */
  turnOn(control = 0x01, node = 0): void {
    this.write(BASE, APERTURE_BASE, node)
    this.write(TABLE_BASE, TABLE_REGISTER, node)
    this.write(CONTROL, control, node)
  }

  /** InvGart, and as long as it takes. */
  invalidate(node = 0): void {
    this.write(CACHE, 1, node)
    for (let i = 0; (this.read(CACHE, node) & 1) !== 0; i++) if (i > 100) throw new Error('InvGart stays 1')
  }

  /** Lets virtual time pass. */
  elapse(ns: number): void {
    this.machine.clock.charge(Count.relax, Math.ceil(ns / this.machine.clock.preset.relax))
  }

  store(address: number, value: bigint): void {
    this.machine.memory.view.setBigUint64(this.#at(address), value, true)
  }

  load(address: number): bigint {
    return this.machine.memory.view.getBigUint64(this.#at(address), true)
  }

  store32(address: number, value: number): void {
    this.machine.memory.view.setUint32(this.#at(address), value, true)
  }

  load32(address: number): number {
    return this.machine.memory.view.getUint32(this.#at(address), true)
  }

  /** A device that the test drives; bus 0 unless `bus` is another (which has a bridge then). */
  device(devfn = 8, bus = 0): Probe {
    const probe = new Probe()
    this.machine.pci.add(bus, devfn, probe)
    this.machine.pci.configWrite((bus << 8) | devfn, Config.command, 2, Command.busMaster)
    return probe
  }

  /** A bus below a root port. */
  bus(devfn = 0x20): number {
    const bus = this.machine.pci.addBridge(0, devfn, 'root-port')
    this.machine.pci.configWrite(devfn, Config.command, 2, Command.busMaster)
    return bus
  }

  /** How often `event` was counted. */
  count(event: keyof typeof Count): number {
    return this.machine.clock.counts[Count[event]]!
  }

  /** Keeps what the stale-hit detector tells, from now on. */
  staleHits(): StaleHit[] {
    const seen: StaleHit[] = []
    this.gart.onStaleHit = (hit) => seen.push({ ...hit })
    return seen
  }

  #at(address: number): number {
    const at = this.machine.memory.offset(Math.floor(address / 2 ** 32), address | 0)
    if (at < 0) throw new Error(`0x${address.toString(16)} is no RAM`)
    return at
  }
}
