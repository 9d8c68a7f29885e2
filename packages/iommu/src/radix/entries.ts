/** Entries of radix tables in memory: read and stored in a format that is data, one atomic store each. */
import { InvariantError } from '@iospace/wire'
import type { DriverPort } from '../iommu-driver.ts'
import { pagesPerEntry, type RadixFormat } from './format.ts'

export const ENTRIES = 512
const ENTRIES_PER_LINE = 8
/** Bits of the high half that hold an entry's address, and bits of the low half that do not. */
const ADDRESS_HIGH = 0xf_ffff
const FLAGS_LOW = 0xfff

export class RadixEntries {
  declare readonly format: RadixFormat
  declare private readonly port: DriverPort
  declare private readonly present: number
  declare private readonly leafMask: number
  declare private readonly leafValue: number
  declare private readonly lowRights: number
  declare private readonly highRights: number
  declare private readonly highShift: number
  declare private readonly pageLow: number
  declare private readonly largeLow: number
  declare private readonly fixedHigh: number

  constructor(port: DriverPort, format: RadixFormat) {
    this.format = format
    this.port = port
    this.present = format.present
    this.leafMask = format.leafMask
    this.leafValue = format.leafValue
    this.lowRights = format.lowRights
    this.highRights = format.highRights
    this.highShift = format.highShift
    this.pageLow = format.pageLow
    this.largeLow = format.largeLow
    this.fixedHigh = format.leafHigh
  }

  isPresent(frame: number, index: number): boolean {
    return (this.port.loadLow(frame, index) & this.present) !== 0
  }

  /** Whether a present entry of `level` is a leaf. */
  isLeaf(frame: number, index: number, level: number): boolean {
    return level === 1 || (this.port.loadLow(frame, index) & this.leafMask) === this.leafValue
  }

  /** Machine frame in an entry. Frames in our own tables are below 2^31. */
  target(frame: number, index: number): number {
    return ((this.port.loadHigh(frame, index) & ADDRESS_HIGH) << 20) | (this.port.loadLow(frame, index) >>> 12)
  }

  /** Access bits of an entry. */
  access(frame: number, index: number): number {
    return (
      (this.port.loadLow(frame, index) & this.lowRights) |
      ((this.port.loadHigh(frame, index) >>> this.highShift) & this.highRights)
    )
  }

  /** Makes an entry lead to `made`, a table of `level`. */
  link(frame: number, index: number, made: number, level: number): void {
    const { tableLow, tableHigh } = this.format
    this.port.publish64(frame, index, (made >>> 20) | tableHigh, (made << 12) | tableLow[level]!)
  }

  /** Makes an entry of a table of `level` a leaf to `mfn`. */
  setLeaf(frame: number, index: number, level: number, mfn: number, access: number): void {
    this.port.publish64(frame, index, (mfn >>> 20) | this.#leafHigh(access), (mfn << 12) | this.#leafLow(level, access))
  }

  /** As {@link setLeaf} for a 4 KiB page where nothing is; false, with nothing changed, where something is. */
  fill(frame: number, index: number, mfn: number, access: number): boolean {
    const port = this.port
    if ((port.loadLow(frame, index) & this.present) !== 0) return false
    const high = this.fixedHigh | ((access & this.highRights) << this.highShift)
    port.publish64(frame, index, (mfn >>> 20) | high, (mfn << 12) | this.pageLow | (access & this.lowRights))
    return true
  }

  /** As {@link setLeaf} for `count` entries from `first` on, to frames `step` apart; lines of the table go out one by one. */
  setLeaves(
    frame: number,
    first: number,
    count: number,
    level: number,
    mfn: number,
    step: number,
    access: number,
  ): void {
    const port = this.port
    const low = this.#leafLow(level, access)
    const high = this.#leafHigh(access)
    for (let i = 0; i < count; i++) {
      const target = mfn + i * step
      port.store64(frame, first + i, (target >>> 20) | high, (target << 12) | low)
      if ((first + i + 1) % ENTRIES_PER_LINE === 0 || i === count - 1) port.flushLine(frame, first + i)
    }
  }

  /** Clears `count` entries from `first` on. */
  clear(frame: number, first: number, count: number): void {
    const port = this.port
    if (count === 1) {
      port.publish64(frame, first, 0, 0)
      return
    }
    for (let index = first; index < first + count; index++) {
      port.store64(frame, index, 0, 0)
      if ((index + 1) % ENTRIES_PER_LINE === 0 || index === first + count - 1) port.flushLine(frame, index)
    }
  }

  /** Whether the entries of `frame`, a table of `level`, are leaves with equal rights to frames that follow each other and are aligned as one larger page. */
  areOnePage(frame: number, level: number): boolean {
    const port = this.port
    const unit = pagesPerEntry(level)
    const first = this.target(frame, 0)
    if (!this.isPresent(frame, 0) || !this.isLeaf(frame, 0, level) || first % (ENTRIES * unit) !== 0) return false
    const flagsLow = port.loadLow(frame, 0) & FLAGS_LOW
    const flagsHigh = port.loadHigh(frame, 0) & ~ADDRESS_HIGH
    // From the end: a table that is being filled upwards lacks its last entry longest.
    for (let index = ENTRIES - 1; index > 0; index--) {
      const target = first + index * unit
      if (port.loadLow(frame, index) !== ((target << 12) | flagsLow)) return false
      if (port.loadHigh(frame, index) !== ((target >>> 20) | flagsHigh)) return false
    }
    return true
  }

  #leafLow(level: number, access: number): number {
    return (level === 1 ? this.pageLow : this.largeLow) | (access & this.lowRights)
  }

  #leafHigh(access: number): number {
    return this.fixedHigh | ((access & this.highRights) << this.highShift)
  }
}

/** What a caller broke who maps what is mapped. */
export function mapped(hi: number, lo: number): InvariantError {
  const address = (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0)
  return new InvariantError('a range is unmapped before it is mapped', `0x${address.toString(16)} is mapped`)
}
