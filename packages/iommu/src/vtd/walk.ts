/**
 * The one table walk of VT-d legacy mode: root entry, context entry, second-stage tables of 3, 4 or 5 levels. The hardware uses it on
 * a miss; `iospace walk`, explanations and tests use it with an observer. It has no caches and logs nothing.
 *
 * A result is a frame number (0 ≤ n < 2^40), or −reason. Checks come in the order of the facts A.3: at each level the entry is
 * read, then its permission looked at, then its reserved bits; so an absent entry with garbage in it is 5 or 6, not C.
 */
import type { TableMemory } from '../table-memory.ts'
import type { VtdCapabilities } from './spec/capabilities.ts'
import { aboveHostWidth, ContextEntry, PageEntry, RootEntry, TranslationType, widthOf } from './spec/entries.ts'
import { FaultReason } from './spec/faults.ts'

/** What a request needs: a right at every level. A zero-length read is content with either right. */
export const Need = { read: 1, write: 2, either: 3 } as const

/** Told of every entry that a walk reads. Level 6 is the root entry, 5…1 are paging levels as in the specification, 0 the context entry. */
export interface WalkObserver {
  entry(kind: 'root' | 'context' | 'page', level: number, mfn: number, index: number, high: number, low: number): void
}

/** Result of {@link VtdWalk.context} when the request passes as it is. */
export const PASS_THROUGH = 1

export class VtdWalk {
  /** Of the last {@link context}: domain id, levels, top table's frame; `faultsDisabled` is FPD, also after a fault. */
  domain = 0
  levels = 0
  table = 0
  faultsDisabled = false
  /** Of the last {@link page} that found a frame: rights of the page, its level (0: passed as it is), and the leaf table with the rights down to it. */
  rights = 0
  leafLevel = 0
  leafTable = 0
  tableRights = 0
  /** Entries read since this was last set to 0. */
  reads = 0

  declare private readonly memory: TableMemory
  declare private readonly flatFrames: number
  declare private readonly addressBits: number
  declare private readonly supportedLevels: number
  declare private readonly typeMask: number
  declare private readonly reservedDomain: number
  declare private readonly aboveHost: number
  declare private readonly reservedHigh: number
  declare private readonly strangeHigh: number
  declare private readonly reservedLeaf: number
  declare private readonly largeLevels: number

  /** `hostAddressBits`: address bits above it are reserved in every entry. */
  constructor(memory: TableMemory, capabilities: VtdCapabilities, hostAddressBits: number) {
    this.memory = memory
    this.flatFrames = memory.flatFrames ?? 0
    this.addressBits = capabilities.addressBits
    this.supportedLevels = capabilities.levels
    this.typeMask =
      (1 << TranslationType.untranslated) |
      (capabilities.deviceTlb ? 1 << TranslationType.deviceTlb : 0) |
      (capabilities.passThrough ? 1 << TranslationType.passThrough : 0)
    // Domain id bits that the unit does not have are reserved in the context entry.
    this.reservedDomain =
      (ContextEntry.domainMask << (capabilities.domainBits + ContextEntry.domainShift)) &
      (ContextEntry.domainMask << ContextEntry.domainShift)
    this.aboveHost = aboveHostWidth(hostAddressBits)
    this.reservedHigh = this.aboveHost | (capabilities.deviceTlb ? 0 : PageEntry.transient)
    // Beside what is reserved: frames beyond 2^31, and bits that the plain case need not know to be ignored.
    this.strangeHigh = this.reservedHigh | ~0x7ff
    this.reservedLeaf = capabilities.snoopControl ? 0 : PageEntry.snoop
    this.largeLevels = (capabilities.pages2M ? 1 << 2 : 0) | (capabilities.pages1G ? 1 << 3 : 0)
  }

  /** The whole way of a request of `need` at (`hi`:`lo`): the output frame or −reason. */
  request(
    rootTable: number,
    requester: number,
    hi: number,
    lo: number,
    need: number,
    observer: WalkObserver | null = null,
  ): number {
    const outcome = this.context(rootTable, requester, observer)
    if (outcome < 0) return outcome
    if (outcome === PASS_THROUGH) {
      this.rights = PageEntry.rights
      this.leafLevel = 0
      return frameOf(hi & 0xf_ffff, lo)
    }
    if (!this.inRange(hi)) return -FaultReason.addressBeyondWidth
    return this.page(this.table, this.levels, hi, lo, need, observer)
  }

  /** Reads the root and context entry of `requester` (bus, device, function): 0, {@link PASS_THROUGH} or −reason. */
  context(rootTable: number, requester: number, observer: WalkObserver | null = null): number {
    const memory = this.memory
    const { words } = memory
    this.faultsDisabled = false
    const root = memory.entryAt(rootTable, (requester >>> 7) & 0x1fe)
    if (root < 0 || memory.entryAt(rootTable, ((requester >>> 7) & 0x1fe) + 1) < 0) return -FaultReason.rootAccess
    this.reads++
    const rootLow = words[root]!
    const rootHigh = words[root + 1]!
    if (observer !== null) observer.entry('root', 6, rootTable, (requester >>> 7) & 0x1fe, rootHigh, rootLow)
    if ((rootLow & RootEntry.present) === 0) return -FaultReason.rootNotPresent
    const rootReserved =
      (rootLow & RootEntry.reservedLow) |
      (rootHigh & ~0xf_ffff) |
      (rootHigh & this.aboveHost) |
      words[root + 2]! |
      words[root + 3]!
    if (rootReserved !== 0) return -FaultReason.rootReserved
    const contextTable = frameOf(rootHigh, rootLow)
    const at = memory.entryAt(contextTable, (requester & 0xff) << 1)
    if (at < 0 || memory.entryAt(contextTable, ((requester & 0xff) << 1) + 1) < 0) return -FaultReason.contextAccess
    this.reads++
    const low = words[at]!
    const high = words[at + 1]!
    const upper = words[at + 2]!
    if (observer !== null) observer.entry('context', 0, contextTable, (requester & 0xff) << 1, high, low)
    this.faultsDisabled = (low & ContextEntry.faultsDisabled) !== 0
    if ((low & ContextEntry.present) === 0) return -FaultReason.contextNotPresent
    const reserved =
      (low & ContextEntry.reservedLow) |
      (high & ~0xf_ffff) |
      (high & this.aboveHost) |
      (upper & (ContextEntry.reservedUpper | this.reservedDomain)) |
      words[at + 3]!
    if (reserved !== 0) return -FaultReason.contextReserved
    const type = (low >>> ContextEntry.typeShift) & ContextEntry.typeMask
    const levels = (upper & ContextEntry.widthMask) + 2
    if (((this.supportedLevels >>> levels) & 1) === 0 || ((this.typeMask >>> type) & 1) === 0)
      return -FaultReason.contextInvalid
    this.domain = (upper >>> ContextEntry.domainShift) & ContextEntry.domainMask
    this.levels = levels
    this.table = frameOf(high, low)
    return type === TranslationType.passThrough ? PASS_THROUGH : 0
  }

  /** Bits of `hi` that lie above both MGAW and the width of a table of `levels` levels. */
  beyondWidth(levels: number): number {
    return -1 << (Math.min(this.addressBits, widthOf(levels)) - 32)
  }

  /** Whether an address with upper half `hi` is within MGAW and the width of the last context entry. */
  inRange(hi: number): boolean {
    return (hi & this.beyondWidth(this.levels)) === 0
  }

  /**
   * Walks from `table`, a table of level `top`, to the page of (`hi`:`lo`): its frame or −reason. `rights` are those granted above
   * `table`, and `access` the reason if `table` itself cannot be read: a walk that starts at a cached directory passes its own.
   */
  page(
    table: number,
    top: number,
    hi: number,
    lo: number,
    need: number,
    observer: WalkObserver | null = null,
    rights: number = RIGHTS,
    access: number = CONTEXT_INVALID,
  ): number {
    if (top === 4 && observer === null && rights === RIGHTS) {
      const frame = this.#plainly(table, hi, lo, need)
      if (frame >= 0) return frame
    }
    return this.#carefully(table, top, hi, lo, need, observer, rights, access)
  }

  // Four levels of plain entries in flat memory, judged together in the end: frame, or −1 where something is odd and must be walked anew,
  // carefully. What an odd entry leads to is read for nothing, as hardware may.
  #plainly(table: number, hi: number, lo: number, need: number): number {
    const { words } = this.memory
    const { flatFrames } = this
    if (table >= flatFrames) return -1
    let at = (table << 10) | ((hi >>> 6) & ENTRY)
    let low = words[at]!
    let above = words[at + 1]!
    let plain = low ^ STRANGE_LOW
    let next = low >>> 12
    if (next >= flatFrames) return -1
    at = (next << 10) | (((hi << 3) | (lo >>> 29)) & ENTRY)
    low = words[at]!
    above |= words[at + 1]!
    plain &= low ^ STRANGE_LOW
    next = low >>> 12
    if (next >= flatFrames) return -1
    at = (next << 10) | ((lo >>> 20) & ENTRY)
    low = words[at]!
    above |= words[at + 1]!
    plain &= low ^ STRANGE_LOW
    next = low >>> 12
    if (next >= flatFrames) return -1
    at = (next << 10) | ((lo >>> 11) & ENTRY)
    low = words[at]!
    const high = words[at + 1]!
    const wanted = need | STRANGE_LOW
    const frame = (high << 20) | (low >>> 12)
    if ((above | (high & this.strangeHigh) | (~(plain & (low ^ STRANGE_LOW)) & wanted)) !== 0) return -1
    if (frame >>> 8 === INTERRUPT_FRAMES) return -1
    this.reads += 4
    this.tableRights = plain & RIGHTS
    this.rights = plain & low & RIGHTS
    this.leafLevel = 1
    this.leafTable = next
    return frame
  }

  /**
   * The commonest part of {@link page}: the plain entry of `lo` in leaf table `table`, to which all rights lead. Its frame, with the rights in
   * `rights`; −1 for any other entry, which {@link page} is for.
   */
  plainLeaf(table: number, lo: number, need: number): number {
    const memory = this.memory
    const at = memory.entryAt(table, (lo >>> 12) & 511)
    if (at < 0) return -1
    const { words } = memory
    const low = words[at]!
    const high = words[at | 1]!
    const frame = (high << 20) | (low >>> 12)
    if ((((low ^ need) & (need | STRANGE_LOW)) | (high & this.strangeHigh)) !== 0 || frame >>> 8 === INTERRUPT_FRAMES)
      return -1
    this.reads++
    this.rights = low & RIGHTS
    return frame
  }

  #carefully(
    table: number,
    top: number,
    hi: number,
    lo: number,
    need: number,
    observer: WalkObserver | null,
    rights: number,
    access: number,
  ): number {
    const memory = this.memory
    const { words } = memory
    const reservedHigh = this.reservedHigh
    for (let level = top; ; level--) {
      const index =
        (level === 1
          ? lo >>> 12
          : level === 2
            ? lo >>> 21
            : level === 3
              ? (hi << 2) | (lo >>> 30)
              : level === 4
                ? hi >>> 7
                : hi >>> 16) & 511
      const at = memory.entryAt(table, index)
      if (at < 0) return this.#end(top - level, level === top ? -access : -FaultReason.pageEntryAccess)
      const low = words[at]!
      const high = words[at + 1]!
      if (observer !== null) observer.entry('page', level, table, index, high, low)
      if ((rights & low & need) === 0)
        return this.#end(top - level + 1, need === Need.write ? -FaultReason.writeBlocked : -FaultReason.readBlocked)
      if (level === 1) {
        this.reads += top
        if (((low & this.reservedLeaf) | (high & reservedHigh)) !== 0) return -FaultReason.pageReserved
        this.tableRights = rights
        this.rights = rights & low
        this.leafLevel = 1
        this.leafTable = table
        return outside(entryFrame(high, low))
      }
      if (((low & (PageEntry.large | PageEntry.snoop)) | (high & reservedHigh)) !== 0) {
        this.reads += top - level + 1
        return this.#large(level, hi, lo, high, low, rights)
      }
      rights &= low
      table = entryFrame(high, low)
    }
  }

  #end(reads: number, result: number): number {
    this.reads += reads
    return result
  }

  // An entry above the leaf level with PS, SNP or a reserved bit: a large leaf, or reason C.
  #large(level: number, hi: number, lo: number, high: number, low: number, rights: number): number {
    const leaf = (low & PageEntry.large) !== 0 && ((this.largeLevels >>> level) & 1) !== 0
    const address = level === 2 ? PageEntry.reserved2M : PageEntry.reserved1G
    if (!leaf || ((low & (this.reservedLeaf | address)) | (high & this.reservedHigh)) !== 0)
      return -FaultReason.pageReserved
    this.rights = rights & low
    this.leafLevel = level
    const inside = ((hi << 20) | (lo >>> 12)) & (level === 2 ? 0x1ff : 0x3ffff)
    return outside(frameOf(high & 0xf_ffff, low) + inside)
  }
}

const RIGHTS = PageEntry.rights
const CONTEXT_INVALID = FaultReason.contextInvalid

/** Word index of an entry in its table. */
const ENTRY = 0x3fe
/** Bits of an entry's low word with which it is not a plain one. */
const STRANGE_LOW = PageEntry.large | PageEntry.snoop
/** Frames of the interrupt window, above their lowest 8 bits. */
const INTERRUPT_FRAMES = 0xfee

// Reason E: an output in the interrupt window, 0xFEExxxxx (LGN.4).
function outside(mfn: number): number {
  return mfn >>> 8 === INTERRUPT_FRAMES && mfn < 2 ** 32 ? -FaultReason.outputInterrupt : mfn
}

/** The frame in an entry (bits 51:12) as an exact number; small ones without arithmetic in doubles. */
export function entryFrame(high: number, low: number): number {
  const upper = high & PageEntry.addressHigh
  return upper < 0x800 ? (upper << 20) | (low >>> 12) : frameOf(upper, low)
}

// An exact number also where the frame does not fit 31 bits: such a frame must never alias another.
function frameOf(high: number, low: number): number {
  return (high >>> 0) * 0x10_0000 + (low >>> 12)
}
