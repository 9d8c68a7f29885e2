/** Fault reasons of legacy-mode DMA requests (VT-d specification, “Fault Conditions”; facts A.3), and of interrupt requests. */
export const FaultReason = {
  /** Root entry: P = 0. */
  rootNotPresent: 0x1,
  /** Context entry: P = 0. */
  contextNotPresent: 0x2,
  /** Context entry: invalid type, unsupported width, or the top table cannot be read. */
  contextInvalid: 0x3,
  /** The address is beyond MGAW or the table's width. */
  addressBeyondWidth: 0x4,
  /** No write permission at some level. */
  writeBlocked: 0x5,
  /** No read permission at some level. */
  readBlocked: 0x6,
  /** A paging entry below the top cannot be read. */
  pageEntryAccess: 0x7,
  rootAccess: 0x8,
  contextAccess: 0x9,
  rootReserved: 0xa,
  contextReserved: 0xb,
  pageReserved: 0xc,
  /** The request type is blocked by TT. */
  typeBlocked: 0xd,
  /** The output lies in the interrupt window. */
  outputInterrupt: 0xe,
} as const

/** Fault reasons of interrupt requests (VT-d specification, “Interrupt Remapping Fault Conditions”). */
export const InterruptReason = {
  /** Reserved bits of the message: data 31:16 with a subhandle. */
  requestReserved: 0x20,
  /** The index is not below the table's size, or the entry lies above the host address width. */
  indexBeyondTable: 0x21,
  entryNotPresent: 0x22,
  /** The table cannot be read. */
  tableAccess: 0x23,
  entryReserved: 0x24,
  /** A message of the old format, with EIME = 1 or CFIS = 0. */
  compatibilityBlocked: 0x25,
  /** The source id is not the one that the entry wants. */
  sourceMismatch: 0x26,
} as const

/**
 * Bit n is set when FPD of the context entry keeps reason n out of the log. Those before the context entry is read cannot be. QEMU
 * leaves 0xB out; the specification's table does not.
 */
export const QUALIFIED_REASONS =
  (1 << FaultReason.contextNotPresent) |
  (1 << FaultReason.contextInvalid) |
  (1 << FaultReason.addressBeyondWidth) |
  (1 << FaultReason.writeBlocked) |
  (1 << FaultReason.readBlocked) |
  (1 << FaultReason.pageEntryAccess) |
  (1 << FaultReason.contextReserved) |
  (1 << FaultReason.pageReserved) |
  (1 << FaultReason.typeBlocked) |
  (1 << FaultReason.outputInterrupt)

const reasonText: Readonly<Record<number, string>> = {
  [FaultReason.rootNotPresent]: 'root entry not present',
  [FaultReason.contextNotPresent]: 'context entry not present',
  [FaultReason.contextInvalid]: 'invalid context entry',
  [FaultReason.addressBeyondWidth]: 'address beyond the table width',
  [FaultReason.writeBlocked]: 'write not permitted',
  [FaultReason.readBlocked]: 'read not permitted',
  [FaultReason.pageEntryAccess]: 'page table entry cannot be read',
  [FaultReason.rootAccess]: 'root table cannot be read',
  [FaultReason.contextAccess]: 'context table cannot be read',
  [FaultReason.rootReserved]: 'reserved bits set in root entry',
  [FaultReason.contextReserved]: 'reserved bits set in context entry',
  [FaultReason.pageReserved]: 'reserved bits set in page table entry',
  [FaultReason.typeBlocked]: 'request type blocked by the context entry',
  [FaultReason.outputInterrupt]: 'translates into the interrupt window',
  [InterruptReason.requestReserved]: 'reserved bits set in interrupt request',
  [InterruptReason.indexBeyondTable]: 'index beyond the interrupt remapping table',
  [InterruptReason.entryNotPresent]: 'interrupt remapping table entry not present',
  [InterruptReason.tableAccess]: 'interrupt remapping table cannot be read',
  [InterruptReason.entryReserved]: 'reserved bits set in interrupt remapping table entry',
  [InterruptReason.compatibilityBlocked]: 'compatibility-format interrupt blocked',
  [InterruptReason.sourceMismatch]: 'interrupt of another source',
}

/** What a fault reason means, for people. */
export const faultReasonText = (reason: number): string => reasonText[reason] ?? 'unknown reason'
