/**
 * The device table as software keeps it: every entry is valid and, until a table is attached, blocks everything (a zeroed entry would let
 * everything through). The lower 16 bytes translate, the upper 16 govern interrupts; each half changes in one store.
 */
import type { DriverPort } from '../../iommu-driver.ts'
import {
  DEVICE_ENTRIES_PER_PAGE,
  DeviceEntry,
  DeviceInterrupts,
  InterruptControl,
  QUADWORDS_PER_ENTRY,
} from '../spec/device-table.ts'
import { Rights } from '../spec/entries.ts'

const VALID = DeviceEntry.valid | DeviceEntry.translationValid

export class DriverDeviceTable {
  /** First frame, and frames. */
  declare readonly first: number
  declare readonly pages: number
  declare private readonly port: DriverPort

  /** `first`: zeroed frames that nothing reads yet. */
  constructor(port: DriverPort, first: number, pages: number) {
    this.first = first
    this.pages = pages
    this.port = port
    for (let requester = 0; requester < pages * DEVICE_ENTRIES_PER_PAGE; requester++) {
      // With V still 0, upper half first (B.7).
      this.abortInterrupts(requester)
      this.#setLower(requester, 0, VALID, 0)
    }
  }

  holds(requester: number): boolean {
    return requester < this.pages * DEVICE_ENTRIES_PER_PAGE
  }

  /** Translates `requester` by the table at `root`; its interrupts stay as they are. */
  attach(requester: number, root: number, levels: number, domain: number): void {
    this.#setLower(
      requester,
      (root >>> 20) | (Rights.both << DeviceEntry.rightsShift),
      (root << 12) | (levels << DeviceEntry.modeShift) | VALID,
      domain,
    )
  }

  /** Blocks everything that `requester` does. */
  block(requester: number): void {
    this.#setLower(requester, 0, VALID, 0)
    this.abortInterrupts(requester)
  }

  /** Remaps interrupts of `requester` by the table of 2^`order` entries in frame `mfn`; those without an entry are blocked and logged. */
  remapInterrupts(requester: number, mfn: number, order: number): void {
    this.#setUpper(requester, InterruptControl.remap, mfn >>> 20, (mfn << 12) | (order << DeviceInterrupts.lengthShift))
  }

  /** Blocks interrupts of `requester`. */
  abortInterrupts(requester: number): void {
    this.#setUpper(requester, InterruptControl.abort, 0, 0)
  }

  #setLower(requester: number, hi: number, lo: number, domain: number): void {
    const frame = this.first + Math.floor(requester / DEVICE_ENTRIES_PER_PAGE)
    const index = (requester % DEVICE_ENTRIES_PER_PAGE) * QUADWORDS_PER_ENTRY
    this.port.store128(frame, index, hi, lo, 0, domain)
    this.port.flushLine(frame, index)
  }

  // IV is always set: there is no moment in which interrupts are not checked.
  #setUpper(requester: number, control: number, hi: number, lo: number): void {
    const frame = this.first + Math.floor(requester / DEVICE_ENTRIES_PER_PAGE)
    const index = (requester % DEVICE_ENTRIES_PER_PAGE) * QUADWORDS_PER_ENTRY + 2
    this.port.store128(frame, index, hi | (control << DeviceInterrupts.controlShift), lo | DeviceInterrupts.valid, 0, 0)
    this.port.flushLine(frame, index)
  }
}
