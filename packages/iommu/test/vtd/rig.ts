/** A board whose VT-d unit is run by the driver, with a reserve of table pages that is watched. */
import { type DriverPort, MachinePort, VtdDriver } from '../../src/driver.ts'
import { VTD_BASE, type VtdPersonality, vtdPersonalities } from '../../src/hardware.ts'
import { Board, type Probe } from './board.ts'

/** Table pages come from frames 256… of RAM; devices are given the frames from 2048 on. */
const RESERVE = 256
export const DATA = 2048
const FRAMES = 4096

export interface RigOptions {
  readonly personality?: VtdPersonality
  /** Table pages that can be had at once. */
  readonly pages?: number
  /** Puts something between the driver and the board. */
  readonly wrap?: (port: DriverPort) => DriverPort
  readonly timeout?: number
}

export class Rig extends Board {
  readonly driver: VtdDriver
  readonly port: DriverPort
  /** Pages that the driver holds. */
  readonly held = new Set<number>()
  pages: number

  constructor({
    personality = vtdPersonalities['sandybridge-ep'],
    pages = 1024,
    wrap = (port) => port,
    timeout,
  }: RigOptions = {}) {
    super({ personality, lowFrames: FRAMES, highFrames: FRAMES })
    this.pages = pages
    const { memory } = this.machine
    const free = Array.from({ length: 1024 }, (_, i) => RESERVE + 1023 - i)
    const port = new MachinePort(this.machine, {
      coherent: personality.capabilities.coherent,
      allocatePage: () => {
        if (this.held.size >= this.pages) return -1
        const mfn = free.pop()!
        memory.fill(memory.frameOffset(mfn), 0, 4096)
        this.held.add(mfn)
        return mfn
      },
      freePage: (mfn) => {
        if (!this.held.delete(mfn)) throw new Error(`page ${mfn} is freed twice`)
        // Whoever still walks it finds entries that lead everywhere: to the frame whose number is 0x777.
        for (let i = 0; i < 512; i++) this.store(mfn * 4096 + i * 8, 0x777003n)
        free.unshift(mfn)
      },
    })
    this.port = wrap(port)
    this.driver = new VtdDriver(this.port, { base: VTD_BASE, ...(timeout === undefined ? {} : { timeout }) })
  }

  /** The widest table that the unit has. */
  get bits(): number {
    return this.driver.capabilities.addressBits
  }

  /** Enabled, with a table that device 00:01.0 is attached to. */
  start(): { readonly device: Probe; readonly table: number } {
    const { driver } = this
    expectOk(driver.enable())
    const table = driver.createTable(this.bits)
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
