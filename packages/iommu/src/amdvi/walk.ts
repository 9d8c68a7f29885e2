/**
 * The one table walk of AMD-Vi: device table entry, then page tables of 1 to 6 levels, where levels may be skipped and leaves of
 * every power of two exist. The hardware uses it on a miss; `iospace walk`, explanations and tests use it with an observer. It has no
 * caches and logs nothing.
 *
 * A result is a frame number (0 ≤ n < 2^40), or −{@link Fault}. Order of checks: facts B.4. The window of interrupt messages is not
 * looked at here.
 */
import type { TableMemory } from '../table-memory.ts'
import { DEVICE_ENTRIES_PER_PAGE, DeviceEntry, DeviceFlags, QUADWORDS_PER_ENTRY } from './spec/device-table.ts'
import { levelShift, NextLevel, PageEntry, Rights, widthOf } from './spec/entries.ts'
import { Fault, HardwareErrorType } from './spec/events.ts'
import type { AmdviFeatures } from './spec/features.ts'

/** What a request needs. */
export const AmdviNeed = { read: Rights.read, write: Rights.write } as const

/** Told of every entry that a walk reads: all 8 words of a device table entry (kind device: `word` is its first index in the memory's words), or a paging entry. */
export interface AmdviWalkObserver {
  device(mfn: number, index: number, words: Int32Array, word: number): void
  entry(level: number, mfn: number, index: number, high: number, low: number): void
}

/** Results of {@link AmdviWalk.device} besides 0: the request passes as it is, unchecked; or with the rights of the entry. */
export const PASS_UNCHECKED = 1
export const PASS_CHECKED = 2

const LEVELS = 6

export class AmdviWalk {
  /** Of the last {@link device}: as far as it came. `marks` is HAD, `suppress` SE and SA as {@link DeviceFlags}. */
  domain = 0
  levels = 0
  table = 0
  rights = 0
  marks = 0
  suppress = 0
  /** Of the last {@link page} that found a frame: rights of the page, log2 of its bytes, and the table of its leaf with the rights down to it. */
  pageRights = 0
  pageShift = 0
  leafLevel = 0
  leafTable = 0
  tableRights = 0
  /** Where in the memory's words the entries of the last {@link page} lie, and how many there were; the leaf's is the last. */
  readonly path = new Int32Array(LEVELS)
  depth = 0
  /** Of a hardware error: the machine address, and how it failed. */
  failedHi = 0
  failedLo = 0
  failedType = 0
  /** Entries read since this was last set to 0; a device table entry counts as one. */
  reads = 0

  readonly #memory: TableMemory
  readonly #maxLevels: number

  constructor(memory: TableMemory, features: Pick<AmdviFeatures, 'levels'>) {
    this.#memory = memory
    this.#maxLevels = features.levels
  }

  /**
   * The whole way of a request of `need` at (`hi`:`lo`): the output frame or −fault. `deviceTable` is the first frame of a device
   * table of `pages` frames.
   */
  request(deviceTable: number, pages: number, requester: number, hi: number, lo: number, need: number, observer: AmdviWalkObserver | null = null): number {
    const outcome = this.device(deviceTable, pages, requester, need, observer)
    if (outcome < 0) return outcome
    if (outcome !== 0) {
      this.pageRights = outcome === PASS_CHECKED ? this.rights : Rights.both
      this.pageShift = 0
      return frameOf(hi, lo)
    }
    if (!inWidth(this.levels, hi, lo)) return -Fault.beyondWidth
    const frame = this.page(this.table, this.levels, hi, lo, need, observer)
    this.pageRights &= this.rights
    return frame
  }

  /** Reads the device table entry of `requester` for a request of `need`: 0, {@link PASS_UNCHECKED}, {@link PASS_CHECKED} or −fault. */
  device(deviceTable: number, pages: number, requester: number, need: number, observer: AmdviWalkObserver | null = null): number {
    this.domain = 0
    this.suppress = 0
    this.marks = 0
    const at = this.deviceEntry(deviceTable, pages, requester, observer)
    if (at < 0) return at
    const { words } = this.#memory
    const low = words[at]!
    const high = words[at + 1]!
    if ((low & DeviceEntry.valid) === 0) return PASS_UNCHECKED
    this.domain = words[at + 2]! & 0xffff
    this.suppress = words[at + 3]! & (DeviceFlags.suppressFurther | DeviceFlags.suppressAll)
    if (((low & DeviceEntry.reserved0) | (high & DeviceEntry.reserved1)) !== 0) return -Fault.deviceReserved
    if ((low & DeviceEntry.translationValid) === 0) return -Fault.translationInvalid
    this.rights = (high >>> DeviceEntry.rightsShift) & DeviceEntry.rightsMask
    if ((this.rights & need) !== need) return -Fault.permission
    this.levels = (low >>> DeviceEntry.modeShift) & DeviceEntry.modeMask
    if (this.levels === 0) return PASS_CHECKED
    if (this.levels > this.#maxLevels) return -Fault.modeInvalid
    this.table = frameOf(high & DeviceEntry.addressHigh, low)
    this.marks = low & (DeviceEntry.accessed | DeviceEntry.dirty)
    return 0
  }

  /** Index in the memory's words of the device table entry of `requester`; −fault when there is none or it cannot be read. */
  deviceEntry(deviceTable: number, pages: number, requester: number, observer: AmdviWalkObserver | null = null): number {
    const page = Math.floor(requester / DEVICE_ENTRIES_PER_PAGE)
    if (page >= pages) return -Fault.deviceBeyondTable
    const index = (requester % DEVICE_ENTRIES_PER_PAGE) * QUADWORDS_PER_ENTRY
    const at = this.#memory.entryAt(deviceTable + page, index)
    if (at < 0) return this.failed(at, deviceTable + page, index, Fault.deviceTableAccess)
    this.reads++
    if (observer !== null) observer.device(deviceTable + page, index, this.#memory.words, at)
    return at
  }

  /**
   * Walks from `table`, a table of level `top`, to the page of (`hi`:`lo`): its frame or −fault. `rights` are those granted above it:
   * a walk that starts at a cached directory passes its own.
   */
  page(table: number, top: number, hi: number, lo: number, need: number, observer: AmdviWalkObserver | null = null, rights: number = Rights.both): number {
    const memory = this.#memory
    const { words } = memory
    const { path } = this
    let level = top
    let depth = 0
    for (;;) {
      const index =
        level === 1
          ? (lo >>> 12) & 511
          : level === 2
            ? (lo >>> 21) & 511
            : level === 3
              ? ((hi << 2) | (lo >>> 30)) & 511
              : level === 4
                ? (hi >>> 7) & 511
                : level === 5
                  ? (hi >>> 16) & 511
                  : hi >>> 25
      const at = memory.entryAt(table, index)
      if (at < 0) return this.failed(at, table, index, Fault.pageTableAccess)
      this.reads++
      path[depth++] = at
      const low = words[at]!
      const high = words[at + 1]!
      if (observer !== null) observer.entry(level, table, index, high, low)
      if ((low & PageEntry.present) === 0) return -Fault.notPresent
      const next = (low >>> PageEntry.nextShift) & PageEntry.nextMask
      const leaf = next === NextLevel.leaf || next === NextLevel.sizedLeaf
      if ((high & (leaf ? PageEntry.reservedLeaf : PageEntry.reservedTable)) !== 0) return -Fault.pageReserved
      const granted = rights & (high >>> PageEntry.rightsShift)
      if ((granted & need) !== need) return -Fault.permission
      if (leaf) {
        this.leafLevel = level
        this.leafTable = table
        this.tableRights = rights
        this.pageRights = granted
        this.depth = depth
        if (next === NextLevel.sizedLeaf || level > 1) return this.#leaf(level, next, hi, lo, high, low)
        this.pageShift = 12
        const upper = high & PageEntry.addressHigh
        return upper < 0x800 ? (upper << 20) | (low >>> 12) : frameOf(upper, low)
      }
      if (next >= level) return -Fault.levelInvalid
      if (next < level - 1 && skipsBits(level, next, hi, lo)) return -Fault.skippedNotZero
      rights = granted
      const upper = high & PageEntry.addressHigh
      table = upper < 0x800 ? (upper << 20) | (low >>> 12) : frameOf(upper, low)
      level = next
    }
  }

  /** @internal Notes where memory failed: `at` is the negative answer of {@link TableMemory.entryAt}. */
  failed(at: number, mfn: number, index: number, fault: number): number {
    const address = mfn * 4096 + index * 8
    this.failedHi = Math.floor(address / 0x1_0000_0000)
    this.failedLo = address | 0
    this.failedType = at === -1 ? HardwareErrorType.masterAbort : HardwareErrorType.dataError
    return -fault
  }

  // A leaf that is not a 4 KiB page of a level-1 table.
  #leaf(level: number, next: number, hi: number, lo: number, high: number, low: number): number {
    let shift = levelShift(level)
    const upper = high & PageEntry.addressHigh
    if (next === NextLevel.sizedLeaf) {
      const size = sizeShift(upper, low)
      if (level === LEVELS || size <= shift || size >= levelShift(level + 1)) return -Fault.sizeInvalid
      shift = size
    } else if (level === LEVELS) return -Fault.levelInvalid
    this.pageShift = shift
    const frames = 2 ** (shift - 12)
    const base = frameOf(upper, low)
    const page = (hi >>> 0) * 0x10_0000 + (lo >>> 12)
    // Address bits below the page size carry the size, or nothing.
    return base - (base % frames) + (page % frames)
  }
}

/** log2 of the bytes of a leaf with NextLevel 7: the first zero bit from 12 up is its highest offset bit. 53 when there is none. */
function sizeShift(upper: number, low: number): number {
  const zeros = ~(low >> 12)
  if ((zeros & 0xf_ffff) !== 0) return 13 + (31 - Math.clz32(zeros & -zeros))
  const more = ~upper & PageEntry.addressHigh
  return more === 0 ? 53 : 33 + (31 - Math.clz32(more & -more))
}

/** Whether any address bit of the levels between `level` and `next` is set. */
function skipsBits(level: number, next: number, hi: number, lo: number): boolean {
  for (let skipped = level - 1; skipped > next; skipped--) {
    const shift = levelShift(skipped)
    if (((shift >= 32 ? hi >>> (shift - 32) : (lo >>> shift) | (shift > 23 ? hi << (32 - shift) : 0)) & 511) !== 0) return true
  }
  return false
}

/** Whether (`hi`:`lo`) is an address of a table of `levels` levels. */
export function inWidth(levels: number, hi: number, lo: number): boolean {
  return ((hi & beyondHigh(levels)) | (lo & beyondLow(levels))) === 0
}

/** Bits of the two halves of an address that lie above a table of `levels` levels. */
export function beyondHigh(levels: number): number {
  const width = widthOf(levels)
  return width >= 64 ? 0 : width <= 32 ? -1 : -1 << (width - 32)
}

export function beyondLow(levels: number): number {
  const width = widthOf(levels)
  return width >= 32 ? 0 : -1 << width
}

// An exact number also where the frame does not fit 31 bits: such a frame must never alias another.
function frameOf(high: number, low: number): number {
  return (high >>> 0) * 0x10_0000 + (low >>> 12)
}
