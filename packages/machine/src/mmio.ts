/**
 * The board's memory-mapped registers. Addresses are physical, below 2^53, and never RAM. An access that nothing decodes reads
 * all ones and is dropped on a write, as on a real bus; so is one that is not naturally aligned, so that no device ever sees one.
 */
import { ConfigError } from '@iospace/wire'
import type { Clock } from './clock.ts'
import { Count } from './costs.ts'

/** A register block. Offsets are relative to its base; accesses are naturally aligned. */
export interface MmioDevice {
  read32(offset: number): number
  write32(offset: number, value: number): void
  /** Absent: two 32-bit reads, low half first. */
  read64?(offset: number): bigint
  /** Absent: two 32-bit writes, low half first. */
  write64?(offset: number, value: bigint): void
}

interface Region {
  readonly base: number
  readonly end: number
  readonly device: MmioDevice
}

// Constants of other modules as this module's own: those are what the compiler folds.
const { mmioRead: MMIO_READ, mmioWrite: MMIO_WRITE } = Count

export class MmioBus {
  declare private readonly clock: Clock
  #regions: Region[] = []
  #last: Region | null = null

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** Places `device` at [`base`, `base` + `bytes`). A range that overlaps another is a wiring mistake. */
  map(base: number, bytes: number, device: MmioDevice): void {
    if (!this.free(base, bytes)) throw new ConfigError('mmio', base, 'overlaps another register block')
    this.#regions.push({ base, end: base + bytes, device })
  }

  /** True when nothing decodes any address of [`base`, `base` + `bytes`). */
  free(base: number, bytes: number): boolean {
    const end = base + bytes
    return this.#regions.every((region) => end <= region.base || region.end <= base)
  }

  /** Removes the block at `base`, if there is one. */
  unmap(base: number): void {
    this.#regions = this.#regions.filter((region) => region.base !== base)
    this.#last = null
  }

  /** True when something decodes `address`. */
  claims(address: number): boolean {
    return this.#find(address, 1) !== null
  }

  read32(address: number): number {
    this.clock.charge(MMIO_READ)
    const region = this.#find(address, 4)
    return region === null ? 0xffffffff : region.device.read32(address - region.base) >>> 0
  }

  write32(address: number, value: number): void {
    this.clock.charge(MMIO_WRITE)
    const region = this.#find(address, 4)
    if (region !== null) region.device.write32(address - region.base, value >>> 0)
  }

  read64(address: number): bigint {
    this.clock.charge(MMIO_READ)
    const region = this.#find(address, 8)
    if (region === null) return 0xffff_ffff_ffff_ffffn
    const { device, base } = region
    if (device.read64 !== undefined) return device.read64(address - base)
    const low = device.read32(address - base) >>> 0
    return (BigInt(device.read32(address - base + 4) >>> 0) << 32n) | BigInt(low)
  }

  write64(address: number, value: bigint): void {
    this.clock.charge(MMIO_WRITE)
    const region = this.#find(address, 8)
    if (region === null) return
    const { device, base } = region
    if (device.write64 !== undefined) {
      device.write64(address - base, value)
      return
    }
    device.write32(address - base, Number(value & 0xffff_ffffn))
    device.write32(address - base + 4, Number((value >> 32n) & 0xffff_ffffn))
  }

  #find(address: number, bytes: number): Region | null {
    if ((address & (bytes - 1)) !== 0) return null
    const last = this.#last
    if (last !== null && address >= last.base && address < last.end) return last
    for (const region of this.#regions) {
      if (address >= region.base && address < region.end) {
        this.#last = region
        return region
      }
    }
    return null
  }
}
