/**
 * The one table look-up of Calgary: TAR, then one TCE. The hardware uses it on a miss; `iospace walk`, explanations and tests use it with an
 * observer. It has no cache and records nothing.
 *
 * A result is a frame number (0 ≤ n < 2^36), {@link UNTRANSLATED}, or −{@link Fault}. Source: facts C.1.
 */
import type { TableMemory } from '../table-memory.ts'
import type { CalgaryPersonality } from './personalities.ts'
import { Fault } from './spec/faults.ts'
import { SizeCode, TableEntry, TableRegister } from './spec/tce.ts'
import { isUntranslated, NO_WINDOWS, type PeripheralWindows } from './spec/windows.ts'

/** What a request needs. */
export const CalgaryNeed = { read: TableEntry.read, write: TableEntry.write } as const

/** Result of {@link CalgaryWalk.request} when the request passes as it is: below every −fault. */
export const UNTRANSLATED = -0x100

/** Told of every entry that is read: entry `index` of frame `mfn`, as the chip understands it (swapped from memory's order). */
export interface CalgaryWalkObserver {
  entry(mfn: number, index: number, high: number, low: number): void
}

// Constants of other modules as this module's own: those are what the compiler folds.
const { rights: RIGHTS, addressHigh: FRAME_HIGH } = TableEntry
const { valid: VALID, sizeMask: SIZE, addressHigh: TABLE_HIGH, addressLow: TABLE_LOW } = TableRegister
const { entriesShift: ENTRIES_SHIFT } = SizeCode
const { beyondTable: BEYOND_TABLE } = Fault
const WINDOWLESS = NO_WINDOWS
const passes = isUntranslated

// Frames below 2^31 without arithmetic in doubles.
const frameOf = (high: number, low: number): number =>
  high < 0x800 ? (high << 20) | (low >>> 12) : high * 0x10_0000 + (low >>> 12)

export class CalgaryWalk {
  /** Of the last look-up that read an entry: its rights, read 1, write 2. */
  rights = 0
  /** Entries read since this was last set to 0. */
  reads = 0

  declare private readonly memory: TableMemory
  /** Big-endian words come by a view: faster than swapping. */
  declare private readonly view: DataView
  declare private readonly legacyFirst: number
  declare private readonly needsValid: boolean

  constructor(memory: TableMemory, personality: Pick<CalgaryPersonality, 'legacyFirst' | 'needsValid'>) {
    const { words } = memory
    this.memory = memory
    this.view = new DataView(words.buffer, words.byteOffset, words.byteLength)
    this.legacyFirst = personality.legacyFirst
    this.needsValid = personality.needsValid
  }

  /**
   * Where a request of `need` at (`hi`:`lo`) goes that comes through a bridge with this TAR and these windows, with TCE_ENABLE set and
   * SLOT_DISABLE clear. {@link rights} are the entry's also when it does not grant `need`; 3 where nothing is translated.
   */
  request(
    tarHigh: number,
    tarLow: number,
    hi: number,
    lo: number,
    need: number,
    windows: Readonly<PeripheralWindows> = WINDOWLESS,
    observer: CalgaryWalkObserver | null = null,
  ): number {
    this.rights = 0
    if (passes(this.legacyFirst, windows, hi, lo)) {
      this.rights = RIGHTS
      return UNTRANSLATED
    }
    return this.entry(tarHigh, tarLow, hi, lo, need, observer)
  }

  /** The same for an address that no window lets pass: frame or −fault. */
  entry(
    tarHigh: number,
    tarLow: number,
    hi: number,
    lo: number,
    need: number,
    observer: CalgaryWalkObserver | null = null,
  ): number {
    if (this.needsValid && (tarLow & VALID) === 0) return -Fault.tableInvalid
    const page = lo >>> 12
    // Code 7 spans all 32-bit addresses; 2^20 pages.
    if (hi !== 0 || page >>> (ENTRIES_SHIFT + (tarLow & SIZE)) !== 0) return -BEYOND_TABLE
    // The table is aligned to its size, so that adding and joining are one.
    const mfn = frameOf(tarHigh & TABLE_HIGH, tarLow & TABLE_LOW) + (page >>> 9)
    const index = page & 511
    const at = this.memory.entryAt(mfn, index)
    if (at < 0) return -Fault.tableAccess
    this.reads++
    const high = this.view.getInt32((at << 2) >>> 0)
    const low = this.view.getInt32(((at << 2) + 4) >>> 0)
    if (observer !== null) observer.entry(mfn, index, high, low)
    this.rights = low & RIGHTS
    if ((low & need) !== need) return this.rights === 0 ? -Fault.notPresent : -Fault.permission
    return frameOf(high & FRAME_HIGH, low)
  }
}
