/**
 * The one table walk of AMD-Vi: device table entry, then page tables of 1 to 6 levels, where levels may be skipped and leaves of
 * every power of two exist. The hardware uses it on a miss; `iospace walk`, explanations and tests use it with an observer. It has no
 * caches and logs nothing.
 *
 * A result is a frame number (0 ≤ n < 2^40), or −{@link Fault}. Order of checks: facts B.4. The window of interrupt messages is not
 * looked at here.
 */
import type { TableMemory } from '../table-memory.ts'
import { frameOf, inWidth, sizeShift, skipsBits } from './addresses.ts'
import { DEVICE_ENTRIES_PER_PAGE, DeviceEntry, DeviceFlags, QUADWORDS_PER_ENTRY } from './spec/device-table.ts'
import { levelShift, NextLevel, PageEntry, Rights } from './spec/entries.ts'
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
  /** Whether {@link mark} will be asked. */
  keepPath = false
  /** Of a hardware error: the machine address, and how it failed. */
  failedHi = 0
  failedLo = 0
  failedType = 0
  /** Entries read since this was last set to 0; a device table entry counts as one. */
  reads = 0

  /** Where in the memory's words the entries of the last {@link page} lie, and how many there were; the leaf's is the last. */
  readonly #path = new Int32Array(LEVELS)
  #depth = 0
  declare private readonly memory: TableMemory
  declare private readonly maxLevels: number

  constructor(memory: TableMemory, features: Pick<AmdviFeatures, 'levels'>) {
    this.memory = memory
    this.maxLevels = features.levels
  }

  /**
   * The whole way of a request of `need` at (`hi`:`lo`): the output frame or −fault. `deviceTable` is the first frame of a device
   * table of `pages` frames.
   */
  request(
    deviceTable: number,
    pages: number,
    requester: number,
    hi: number,
    lo: number,
    need: number,
    observer: AmdviWalkObserver | null = null,
  ): number {
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
  device(
    deviceTable: number,
    pages: number,
    requester: number,
    need: number,
    observer: AmdviWalkObserver | null = null,
  ): number {
    this.domain = 0
    this.suppress = 0
    this.marks = 0
    this.levels = 0
    this.table = 0
    const at = this.deviceEntry(deviceTable, pages, requester, observer)
    if (at < 0) return at
    const { words } = this.memory
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
    if (this.levels > this.maxLevels) return -Fault.modeInvalid
    this.table = frameOf(high & DeviceEntry.addressHigh, low)
    this.marks = low & (DeviceEntry.accessed | DeviceEntry.dirty)
    return 0
  }

  /** Index in the memory's words of the device table entry of `requester`; −fault when there is none or it cannot be read. */
  deviceEntry(
    deviceTable: number,
    pages: number,
    requester: number,
    observer: AmdviWalkObserver | null = null,
  ): number {
    const page = Math.floor(requester / DEVICE_ENTRIES_PER_PAGE)
    if (page >= pages) return -Fault.deviceBeyondTable
    const index = (requester % DEVICE_ENTRIES_PER_PAGE) * QUADWORDS_PER_ENTRY
    const { memory } = this
    let at = memory.entryAt(deviceTable + page, index)
    for (let quadword = 1; quadword < QUADWORDS_PER_ENTRY && at >= 0; quadword++)
      at = Math.min(at, memory.entryAt(deviceTable + page, index + quadword))
    if (at < 0) return this.failed(at, deviceTable + page, index, Fault.deviceTableAccess)
    this.reads++
    if (observer !== null) observer.device(deviceTable + page, index, memory.words, at)
    return at
  }

  /**
   * Walks from `table`, a table of level `top`, to the page of (`hi`:`lo`): its frame or −fault. `rights` are those granted above it:
   * a walk that starts at a cached directory passes its own.
   */
  page(
    table: number,
    top: number,
    hi: number,
    lo: number,
    need: number,
    observer: AmdviWalkObserver | null = null,
    rights: number = Rights.both,
  ): number {
    // The plain case, 4 levels and none of it strange, without looking at why: anything else is walked anew, carefully.
    if (top === 4 && observer === null && rights === Rights.both && !this.keepPath) {
      const { memory } = this
      const { words } = memory
      const wanted = need << PageEntry.rightsShift
      const odd = wanted | PageEntry.strangeHigh
      const page = (hi << 20) | (lo >>> 12)
      let at = memory.entryAt(table, (hi >>> 7) & 511)
      let kind = PageEntry.present | (3 << PageEntry.nextShift)
      let granted = -1
      let leafTable = 0
      for (let shift = 18; shift >= 0 && at >= 0; shift -= 9) {
        const low = words[at]!
        const high = words[at + 1]!
        if ((((low & PageEntry.kind) ^ kind) | ((high ^ wanted) & odd)) !== 0)
          return this.#carefully(table, top, hi, lo, need, observer, rights)
        kind -= 1 << PageEntry.nextShift
        granted &= high
        leafTable = (high << 20) | (low >>> 12)
        at = memory.entryAt(leafTable, (page >>> shift) & 511)
      }
      if (at >= 0) {
        const low = words[at]!
        const high = words[at + 1]!
        if ((((low & PageEntry.kind) ^ PageEntry.present) | ((high ^ wanted) & odd & ~PageEntry.leafOnly)) === 0) {
          this.reads += 4
          this.leafLevel = 1
          this.leafTable = leafTable
          this.tableRights = (granted >>> PageEntry.rightsShift) & Rights.both
          this.pageRights = ((granted & high) >>> PageEntry.rightsShift) & Rights.both
          this.pageShift = 12
          return (high << 20) | (low >>> 12)
        }
      }
    }
    return this.#carefully(table, top, hi, lo, need, observer, rights)
  }

  #carefully(
    table: number,
    top: number,
    hi: number,
    lo: number,
    need: number,
    observer: AmdviWalkObserver | null,
    rights: number,
  ): number {
    const memory = this.memory
    const { words } = memory
    const path = this.#path
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
        this.#depth = depth
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

  /**
   * Sets the accessed and dirty bits of the entries of the last {@link page}, as `marks` of the device table entry wants; false when
   * the page is not dirty, and a write would have to make it so.
   */
  mark(marks: number, need: number): boolean {
    const { words } = this.memory
    const path = this.#path
    const depth = this.#depth
    if ((marks & DeviceEntry.accessed) === 0) return true
    for (let i = 0; i < depth; i++) words[path[i]!]! |= PageEntry.accessed
    if ((marks & DeviceEntry.dirty) === 0) return true
    const leaf = path[depth - 1]!
    if (need === Rights.write) words[leaf]! |= PageEntry.dirty
    return (words[leaf]! & PageEntry.dirty) !== 0
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
