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
  /** The first of 2^`order` consecutive frames; absent: there are none. */
  readonly allocateRun?: (order: number) => number
  readonly freePage: (mfn: number) => void
  /** False: the unit does not look into CPU caches when it walks tables, so it sees a store only after `flushLine`. */
  readonly coherent: boolean
}

/** A polling loop looks at least this often. */
const MOST_PAUSES = 64

// Constants of other modules as this module's own: those are what the compiler folds.
const { tableStore: TABLE_STORE, cacheFlush: CACHE_FLUSH, relax: RELAX } = Count

export class MachinePort implements DriverPort {
  declare private readonly memory: MachineMemory
  declare private readonly mmio: MmioBus
  declare private readonly clock: Clock
  declare private readonly words: Int32Array
  declare private readonly lowFrames: number
  declare private readonly options: MachinePortOptions
  /** Ns of one pause. */
  declare private readonly pause: number
  declare private readonly dirty: DirtyLines
  #coherent = false

  constructor({ memory, mmio, clock }: Pick<Machine, 'memory' | 'mmio' | 'clock'>, options: MachinePortOptions) {
    this.memory = memory
    this.mmio = mmio
    this.clock = clock
    this.words = memory.words
    this.lowFrames = memory.lowFrames
    this.options = options
    this.pause = clock.preset.relax
    this.dirty = new DirtyLines(memory.words)
    this.#coherent = options.coherent
  }

  allocatePage(): number {
    return this.options.allocatePage()
  }

  allocateRun(order: number): number {
    return this.options.allocateRun?.(order) ?? -1
  }

  freePage(mfn: number): void {
    if (this.dirty.count > 0) this.dirty.writeBackAll()
    this.options.freePage(mfn)
  }

  /** Where the unit can be told to look into CPU caches: whether it does now. */
  set coherent(coherent: boolean) {
    if (coherent) this.dirty.writeBackAll()
    this.#coherent = coherent
  }

  store64(mfn: number, index: number, hi: number, lo: number): void {
    const at = this.#at(mfn, index)
    if (this.#coherent) {
      this.words[at] = lo
      this.words[at | 1] = hi
    } else this.dirty.write(at, hi, lo)
    this.clock.charge(TABLE_STORE)
  }

  store32(mfn: number, index: number, value: number): void {
    const at = this.#at(mfn, index >>> 1) | (index & 1)
    if (this.#coherent) this.words[at] = value
    else this.dirty.writeWord(at, value)
    this.clock.charge(TABLE_STORE)
  }

  store128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void {
    const at = this.#at(mfn, index)
    if (this.#coherent) {
      this.words[at] = lo0
      this.words[at | 1] = hi0
      this.words[at | 2] = lo1
      this.words[at | 3] = hi1
    } else {
      this.dirty.write(at, hi0, lo0)
      this.dirty.write(at + 2, hi1, lo1)
    }
    this.clock.charge(TABLE_STORE)
  }

  publish64(mfn: number, index: number, hi: number, lo: number): void {
    if (this.dirty.count > 0) {
      this.store64(mfn, index, hi, lo)
      this.flushLine(mfn, index)
      return
    }
    const at = this.#at(mfn, index)
    // With a clean cache nobody can tell the store from the write-back that follows it.
    if (this.#coherent) {
      this.words[at] = lo
      this.words[at | 1] = hi
      this.clock.charge(TABLE_STORE)
    } else {
      this.clock.chargeBoth(TABLE_STORE, CACHE_FLUSH)
      this.words[at] = lo
      this.words[at | 1] = hi
    }
  }

  storeCoherent128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void {
    const at = this.#at(mfn, index)
    this.words[at] = lo0
    this.words[at | 1] = hi0
    this.words[at | 2] = lo1
    this.words[at | 3] = hi1
    this.clock.charge(TABLE_STORE)
  }

  loadLow(mfn: number, index: number): number {
    const at = this.#at(mfn, index)
    return this.dirty.count === 0 ? this.words[at]! : this.dirty.read(at)
  }

  loadHigh(mfn: number, index: number): number {
    const at = this.#at(mfn, index) | 1
    return this.dirty.count === 0 ? this.words[at]! : this.dirty.read(at)
  }

  flushLine(mfn: number, index: number): void {
    if (this.#coherent) return
    this.dirty.writeBack(this.#at(mfn, index))
    this.clock.charge(CACHE_FLUSH)
  }

  read32(address: number): number {
    return this.mmio.read32(address)
  }

  write32(address: number, value: number): void {
    this.mmio.write32(address, value)
  }

  now(): number {
    return this.clock.now
  }

  // As many pauses at once as it takes until hardware does something: the loop would find nothing new before.
  relax(): void {
    const { clock } = this
    const pauses = Math.ceil((clock.nextDue - clock.now) / this.pause)
    clock.charge(RELAX, pauses > 1 ? Math.min(pauses, MOST_PAUSES) : 1)
  }

  #at(mfn: number, index: number): number {
    if (mfn >= 0 && mfn < this.lowFrames) return (mfn << 10) | (index << 1)
    const frame = this.memory.frameIndex(mfn)
    if (frame < 0) throw new InvariantError('a driver touches RAM only', `frame 0x${mfn.toString(16)} is none`)
    return (frame << 10) | (index << 1)
  }
}
