/**
 * The software side of an IOMMU: one interface for every kind of unit. A driver touches memory and registers only, through a
 * {@link DriverPort}, so the same driver runs a model of ours, QEMU's unit, or a vIOMMU that the hypervisor emulates.
 *
 * I/O addresses are (`hi`, `lo`) 32-bit halves of any sign, page aligned. Frames are machine frame numbers below 2^31. Results are
 * {@link DriverStatus}: what hardware can cause is a value.
 */

/** Results of driver calls: 0 or a negative status. */
export const DriverStatus = {
  ok: 0,
  /** The reserve of table pages is empty. Nothing changed. */
  noMemory: -1,
  /** The unit did not complete a command in time: the caller must fence what is behind it. */
  timedOut: -2,
  /** No table tag (VT-d domain id) is left. */
  noTable: -3,
  /** The unit cannot do this: width, access kind or page size. */
  unsupported: -4,
} as const

/** Access bits of a mapping, as in the ABI: 1 read, 2 write. */
export const Access = { read: 1, write: 2 } as const

export type IommuKind = 'none' | 'vtd' | 'amdvi' | 'calgary' | 'gart'

/** What a unit can do: data that the hypervisor and guests read. */
export interface IommuCapabilities {
  readonly kind: IommuKind
  /** One bit per supported leaf size: bit n for 2^n bytes (bit 12 is always set). */
  readonly pageSizes: number
  /** Width of I/O addresses in bits, the largest that a table can have; and every width that a table may have. */
  readonly addressBits: number
  readonly tableWidths: readonly number[]
  /** log2 of the pages that the widest table takes in one piece of memory; 0 where tables are trees of pages. */
  readonly tableOrder: number
  /** I/O bytes that a table can translate, [`first`, `end`). Addresses outside it pass untranslated (GART) or fault (all others). */
  readonly window: { readonly first: number; readonly end: number }
  /** Ranges inside the window, [first byte, byte behind], that never reach a table: nothing may be mapped there. Interrupt messages aside. */
  readonly untranslated: readonly (readonly [number, number])[]
  /** Which requesters the unit tells apart. */
  readonly granularity: 'none' | 'bus' | 'function'
  /** Access combinations that an entry can express. */
  readonly writeOnly: boolean
  readonly readOnly: boolean
  /** Interrupt messages of devices are checked by source. */
  readonly interruptIsolation: boolean
  /** Blocked accesses leave a record; and the unit announces it by an interrupt (else its log must be looked at from time to time). */
  readonly faultRecords: boolean
  readonly faultInterrupt: boolean
  /** The unit reads tables coherently with CPU caches; else stores must be flushed. */
  readonly coherent: boolean
  /** New mappings need an invalidation too (caching mode, NpCache). */
  readonly invalidateOnMap: boolean
  /** Host accessed/dirty bits. */
  readonly dirtyBits: boolean
  /** How many tables can exist at once. */
  readonly tables: number
}

/** A fault as the unit recorded it. */
export interface IommuFault {
  /** Requester id as on the bus. */
  requester: number
  hi: number
  lo: number
  write: boolean
  /** False where the record holds no address. */
  addressValid: boolean
  /** The unit's own code. */
  hardwareReason: number
  /** The log was full at about this record: later faults were lost. */
  lostBefore: boolean
}

/** What goes into a function's MSI registers. */
export interface InterruptMessage {
  addressLow: number
  addressHigh: number
  data: number
}

/** What a driver may touch: page frames for its tables, 8-byte entries in them, registers, and time. */
export interface DriverPort {
  /** A frame for tables or queues, all zero and written back to memory; −1 when the reserve is empty. */
  allocatePage(): number
  /** The first of 2^`order` consecutive frames, each as from {@link allocatePage}, for tables that span pages; −1 when there are none. */
  allocateRun(order: number): number
  /** Gives back a frame, one of a run too. */
  freePage(mfn: number): void
  /** One atomic 8-byte store to entry `index` (0…511) of frame `mfn`. A device may act right after each one. */
  store64(mfn: number, index: number, hi: number, lo: number): void
  /** One atomic 4-byte store to entry `index` (0…1023, of 4 bytes) of frame `mfn`; {@link flushLine} takes the 8-byte entry that it is in. */
  store32(mfn: number, index: number, value: number): void
  /** One atomic 16-byte store to entries `index` (even; the first pair of halves) and `index` + 1: `cmpxchg16b` on a CPU. */
  store128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void
  /** Writes the cache line of entry `index` back to memory; needed where the unit is not coherent. */
  flushLine(mfn: number, index: number): void
  /** {@link store64}, then {@link flushLine}: for an entry that changes alone. */
  publish64(mfn: number, index: number, hi: number, lo: number): void
  /** As {@link store128}, to memory that every unit reads coherently (queues): no {@link flushLine} is needed. */
  storeCoherent128(mfn: number, index: number, hi0: number, lo0: number, hi1: number, lo1: number): void
  /** The halves of entry `index` of frame `mfn`. */
  loadLow(mfn: number, index: number): number
  loadHigh(mfn: number, index: number): number
  /** Registers by physical address. 64-bit registers are written as two halves, the upper one last. */
  read32(address: number): number
  write32(address: number, value: number): void
  /** Virtual ns, for time-outs, and a pause inside a polling loop (time passes in it). */
  now(): number
  relax(): void
}

export interface IommuDriver {
  readonly capabilities: IommuCapabilities
  /** Resets what firmware left, builds the empty root structure (everything blocked), and turns translation on. */
  enable(): number
  /** Turns translation off and frees everything. Devices must be quiet. */
  disable(): void
  /** The lowest requester id that the unit cannot tell from `requester`: itself, its bus's first, or 0 for all. They are attached and blocked together. */
  groupOf(requester: number): number
  /** A new, empty table of `addressBits` width; its handle (≥ 0) or a negative status. */
  createTable(addressBits: number): number
  /** Frees a table that no device is attached to. Completes an invalidation of its tag before any page is freed. */
  destroyTable(table: number): number
  /**
   * Makes `table` the translation of `requester`, from blocked or from another table: each request sees wholly the old or wholly
   * the new one. On return the old one is unreachable and invalidated.
   */
  attach(requester: number, table: number): number
  /** Makes every DMA of `requester` fault; completes the invalidation before it returns. */
  block(requester: number): number
  /**
   * Maps `pages` I/O pages from (`hi`,`lo`) to machine-contiguous frames from `mfn`. The range must be unmapped. Uses the largest
   * pages that fit (never above 4K with `exact4k`). On every error nothing is mapped; on timedOut the unit may know the mapping all the same,
   * until invalidations have completed.
   */
  map(table: number, hi: number, lo: number, mfn: number, pages: number, access: number, exact4k?: boolean): number
  /**
   * Clears the entries of `pages` mapped pages; the device may still hit cached ones until {@link completeInvalidations} has
   * returned ok. Splitting a large page uses pages of the reserve: noMemory leaves all as it was.
   */
  unmap(table: number, hi: number, lo: number, pages: number): number
  /** Queues the invalidation of a range of a table; {@link completeInvalidations} waits for all that is queued. */
  queueInvalidation(table: number, hi: number, lo: number, pages: number): number
  /** Queues the invalidation of everything that the unit caches of `table`. */
  queueTableInvalidation(table: number): number
  /** Waits until every queued invalidation is complete, posted writes drained; frees table pages that waited for it. */
  completeInvalidations(): number
  /** Frame that an I/O page maps to, or −1; `accessOf` tells the access bits of the same entry (0 when unmapped). */
  frameOf(table: number, hi: number, lo: number): number
  accessOf(table: number, hi: number, lo: number): number
  /** Table pages in use by `table`, its root included. */
  tablePages(table: number): number
  /**
   * Frees the pages of `table` that map nothing (unmap leaves them for the next map), after a completed invalidation: how many, or a
   * negative status. Map does it by itself before it gives up with noMemory.
   */
  reclaim(table: number): number
  /** Reads and clears the unit's fault log; calls `each` per record (the object is reused). Called from the fault interrupt. */
  drainFaults(each: (fault: IommuFault) => void): void
  /** Sets the message that the unit sends when it records a fault. */
  setFaultInterrupt(addressLow: number, data: number): void
  /**
   * Lets `requester`, and nobody else, raise `vector` on the first CPU: fills `message` with what its MSI registers must hold and returns the
   * entry's handle (≥ 0), or a negative status: noTable (no entry left), noMemory, timedOut, unsupported (no interrupt isolation).
   * Before this call every message of a requester is blocked where interrupts are isolated.
   */
  mapInterrupt(requester: number, vector: number, message: InterruptMessage): number
  /** Ends what {@link mapInterrupt} gave; on ok the invalidation is complete and messages through `handle` are blocked. */
  unmapInterrupt(requester: number, handle: number): number
  /** Frames that the unit itself reads (root, context, queue, tables): never reachable by DMA. For checks and reports. */
  ownFrames(): number[]
}
