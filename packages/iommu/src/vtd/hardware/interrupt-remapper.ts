/**
 * Interrupt messages of devices (VT-d specification, “Interrupt-Remapping Hardware Operation”; facts G): passed or blocked where they are of the
 * old format, else turned into what an entry of the table says, for the requester that the entry names. Entries are kept until they
 * are invalidated.
 */
import { Count, type Clock, type InterruptController } from '@iospace/machine'
import { ContextCache } from '../../cache/context-cache.ts'
import type { TableMemory } from '../../table-memory.ts'
import type { VtdPersonality } from '../personalities.ts'
import { InterruptReason } from '../spec/faults.ts'
import {
  INTERRUPT_ENTRIES_PER_PAGE,
  InterruptEntry,
  QUALIFIER_MASKS,
  RemappableMessage,
  SourceValidation,
} from '../spec/irte.ts'
import { InterruptTableAddress } from '../spec/registers.ts'

/** Result of {@link InterruptRemapper.message} when the message went its way; else −reason. */
export const SENT = 0

/** In a cached entry, beside word 2: the entry has reserved bits set. */
const RESERVED = 0x8000_0000 | 0
/** Delivery mode in the data of a message that the CPU gets. */
const MODE_SHIFT = 8

export class InterruptRemapper {
  /** IRES and CFIS. */
  enabled = false
  compatibility = false
  /** Of the last message that was not sent: index (where there is one) and FPD of its entry. */
  index = 0
  faultsDisabled = false
  declare private readonly tables: TableMemory
  declare private readonly clock: Clock
  declare private readonly controller: InterruptController
  declare private readonly cache: ContextCache
  declare private readonly cachesAbsent: boolean
  /** First frame above the host address width. */
  declare private readonly frameLimit: number
  #frame = 0
  #entries = 0
  #extended = false

  constructor(
    tables: TableMemory,
    clock: Clock,
    controller: InterruptController,
    { interrupts, capabilities, hostAddressBits }: VtdPersonality,
  ) {
    this.tables = tables
    this.clock = clock
    this.controller = controller
    this.cache = new ContextCache(interrupts)
    this.cachesAbsent = capabilities.cachingMode
    this.frameLimit = 2 ** (hostAddressBits - 12)
  }

  /** SIRTP: the table is where IRTA (`high`, `low`) says. What is cached of the old one stays. */
  setTable(high: number, low: number): void {
    this.#frame = (high >>> 0) * 0x10_0000 + (low >>> 12)
    this.#entries = 2 << (low & InterruptTableAddress.sizeMask)
    this.#extended = (low & InterruptTableAddress.extended) !== 0
  }

  /** A message of `requester`: 4 bytes `data` to the address with lower half `lo` in the interrupt window. */
  message(requester: number, lo: number, data: number): number {
    this.index = 0
    this.faultsDisabled = false
    if (!this.enabled) return this.#send(data)
    if ((lo & RemappableMessage.format) === 0)
      return this.#extended || !this.compatibility ? -InterruptReason.compatibilityBlocked : this.#send(data)
    let index = (lo >>> RemappableMessage.handleShift) & RemappableMessage.handleMask
    if ((lo & RemappableMessage.handleHigh) !== 0) index += RemappableMessage.handleMask + 1
    if ((lo & RemappableMessage.subhandleValid) !== 0) {
      if ((data & RemappableMessage.reservedData) !== 0) return -InterruptReason.requestReserved
      index += data
    }
    this.index = index & 0xffff
    return index >= this.#entries ? -InterruptReason.indexBeyondTable : this.#remap(requester, index)
  }

  /** Forgets entry `index` and its 2^`order` − 1 neighbours in the naturally aligned block; everything without {@link byIndex}. */
  invalidate(byIndex: boolean, index: number, order: number): void {
    this.clock.count(Count.invalidation)
    this.cache.drop(index, byIndex ? -1 << order : 0, -1)
  }

  reset(): void {
    this.enabled = false
    this.compatibility = false
    this.#frame = 0
    this.#entries = 0
    this.#extended = false
    this.cache.drop(0, 0, -1)
  }

  // P, then the requester, then the rest of the entry, in the order of the specification.
  #remap(requester: number, index: number): number {
    const { cache } = this
    const found = cache.find(index)
    let control: number
    let source: number
    if (found >= 0) {
      control = cache.control(found)
      source = cache.table(found)
    } else {
      const frame = this.#frame + Math.floor(index / INTERRUPT_ENTRIES_PER_PAGE)
      if (frame >= this.frameLimit) return -InterruptReason.indexBeyondTable
      const half = (index % INTERRUPT_ENTRIES_PER_PAGE) * 2
      const at = this.tables.entryAt(frame, half)
      if (at < 0 || this.tables.entryAt(frame, half + 1) < 0) return -InterruptReason.tableAccess
      this.clock.count(Count.walkRead)
      const { words } = this.tables
      control = words[at]!
      source = words[at + 2]! & ~InterruptEntry.reserved2
      const reserved =
        (control & InterruptEntry.reserved0) |
        (this.#extended ? 0 : words[at + 1]! & InterruptEntry.reserved1) |
        (words[at + 2]! & InterruptEntry.reserved2) |
        words[at + 3]!
      if (reserved !== 0) source |= RESERVED
    }
    const reason = faultOf(control, source, requester)
    if (found < 0 && (reason === 0 || this.cachesAbsent)) cache.insert(index, control, source)
    if (reason !== 0) {
      this.faultsDisabled = (control & InterruptEntry.faultsDisabled) !== 0
      return -reason
    }
    const mode = (control >>> InterruptEntry.modeShift) & InterruptEntry.modeMask
    return this.#send(((control >>> InterruptEntry.vectorShift) & InterruptEntry.vectorMask) | (mode << MODE_SHIFT))
  }

  #send(data: number): number {
    this.controller.message(data)
    return SENT
  }
}

// Why a message of `requester` may not use the entry; 0 when it may.
function faultOf(control: number, source: number, requester: number): number {
  if ((control & InterruptEntry.present) === 0) return InterruptReason.entryNotPresent
  if (!isFrom(source, requester)) return InterruptReason.sourceMismatch
  return source < 0 ? InterruptReason.entryReserved : 0
}

// The order of a bus range is that of Linux and of the specification: first bus above, last below.
function isFrom(source: number, requester: number): boolean {
  switch ((source >>> InterruptEntry.validationShift) & InterruptEntry.validationMask) {
    case SourceValidation.none:
      return true
    case SourceValidation.sourceId: {
      const qualifier = (source >>> InterruptEntry.qualifierShift) & InterruptEntry.qualifierMask
      return ((source ^ requester) & QUALIFIER_MASKS[qualifier]!) === 0
    }
    case SourceValidation.busRange: {
      const bus = requester >>> 8
      return bus >= ((source >>> 8) & 0xff) && bus <= (source & 0xff)
    }
    default:
      // The reserved code verifies nobody.
      return false
  }
}
