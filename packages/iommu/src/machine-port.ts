/**
 * A driver's port on our own board: memory through the CPU's cache, registers over the MMIO bus, the board's clock. Every store and
 * flush is charged, so that hardware can act between two of them.
 */
import type { Clock, Machine, MachineMemory, MmioBus } from '@iospace/machine'
import { Count } from '@iospace/machine'
import { InvariantError } from '@iospace/wire'
import { DirtyLines } from './cache/dirty-lines.ts'
import type { DriverPort } from './iommu-driver.ts'

export interface MachinePortOptions {
  /** Takes a frame out of the caller's reserve, zeroed; −1 when it is empty. */
  readonly allocatePage: () => number
  readonly freePage: (mfn: number) => void
  /** False: the unit does not look into CPU caches when it walks tables, so it sees a store only after `flushLine`. */
  readonly coherent: boolean
}

export class MachinePort implements DriverPort {
  readonly #memory: MachineMemory
  readonly #mmio: MmioBus
  readonly #clock: Clock
  readonly #words: Int32Array
  readonly #lowFrames: number = 0
  readonly #options: MachinePortOptions
  readonly #dirty: DirtyLines
  readonly #coherent: boolean = false

  constructor({ memory, mmio, clock }: Pick<Machine, 'memory' | 'mmio' | 'clock'>, options: MachinePortOptions) {
    this.#memory = memory
    this.#mmio = mmio
    this.#clock = clock
    this.#words = memory.words
    this.#lowFrames = memory.lowFrames
    this.#options = options
    this.#dirty = new DirtyLines(memory.words)
    this.#coherent = options.coherent
  }

  allocatePage(): number {
    return this.#options.allocatePage()
  }

  freePage(mfn: number): void {
    if (this.#dirty.count > 0) this.#dirty.writeBackAll()
    this.#options.freePage(mfn)
  }

  store64(mfn: number, index: number, hi: number, lo: number): void {
    const at = this.#at(mfn, index)
    if (this.#coherent) {
      this.#words[at] = lo
      this.#words[at + 1] = hi
    } else this.#dirty.write(at, hi, lo)
    this.#clock.charge(Count.tableStore)
  }

  store128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void {
    const at = this.#at(mfn, index)
    if (this.#coherent) {
      this.#words[at] = lo0
      this.#words[at + 1] = hi0
      this.#words[at + 2] = lo1
      this.#words[at + 3] = hi1
    } else {
      this.#dirty.write(at, hi0, lo0)
      this.#dirty.write(at + 2, hi1, lo1)
    }
    this.#clock.charge(Count.tableStore)
  }

  publish64(mfn: number, index: number, hi: number, lo: number): void {
    const at = this.#at(mfn, index)
    if (this.#dirty.count > 0) {
      this.store64(mfn, index, hi, lo)
      this.flushLine(mfn, index)
      return
    }
    // As above with a clean cache: what acts between store and flush sees the old entry, or the new one if it looks into caches.
    if (!this.#coherent) this.#clock.charge(Count.tableStore)
    this.#words[at] = lo
    this.#words[at + 1] = hi
    this.#clock.charge(this.#coherent ? Count.tableStore : Count.cacheFlush)
  }

  storeCoherent128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void {
    const at = this.#at(mfn, index)
    this.#words[at] = lo0
    this.#words[at + 1] = hi0
    this.#words[at + 2] = lo1
    this.#words[at + 3] = hi1
    this.#clock.charge(Count.tableStore)
  }

  loadLow(mfn: number, index: number): number {
    const at = this.#at(mfn, index)
    return this.#dirty.count === 0 ? this.#words[at]! : this.#dirty.read(at)
  }

  loadHigh(mfn: number, index: number): number {
    const at = this.#at(mfn, index) + 1
    return this.#dirty.count === 0 ? this.#words[at]! : this.#dirty.read(at)
  }

  flushLine(mfn: number, index: number): void {
    if (this.#coherent) return
    this.#dirty.writeBack(this.#at(mfn, index))
    this.#clock.charge(Count.cacheFlush)
  }

  read32(address: number): number {
    return this.#mmio.read32(address)
  }

  write32(address: number, value: number): void {
    this.#mmio.write32(address, value)
  }

  now(): number {
    return this.#clock.now
  }

  relax(): void {
    this.#clock.charge(Count.relax)
  }

  #at(mfn: number, index: number): number {
    if (mfn >= 0 && mfn < this.#lowFrames) return (mfn << 10) | (index << 1)
    const frame = this.#memory.frameIndex(mfn)
    if (frame < 0) throw new InvariantError('a driver touches RAM only', `frame 0x${mfn.toString(16)} is none`)
    return (frame << 10) | (index << 1)
  }
}
