/**
 * Status of a completed command (NVMe 1.4 section 4.6.1): status code in 7:0, status code type in 10:8, then the flags More (bit 13,
 * the error log tells more) and Do Not Retry (bit 14). The values below leave out More, which the controller adds.
 */
export const MORE = 1 << 13
export const DO_NOT_RETRY = 1 << 14
/** Status code and type without flags. */
export const STATUS_CODE = 0x7ff

const final = (status: number): number => status | DO_NOT_RETRY

export const Status = {
  success: 0,
  // Generic command status (figure 127).
  invalidOpcode: final(0x01),
  invalidField: final(0x02),
  /** A DMA of the command's data or PRP list failed. */
  dataTransferError: 0x04,
  internalError: 0x06,
  abortRequested: 0x07,
  submissionQueueDeleted: 0x08,
  invalidNamespace: final(0x0b),
  commandSequenceError: final(0x0c),
  prpOffsetInvalid: final(0x13),
  writeProtected: final(0x20),
  lbaOutOfRange: final(0x80),
  capacityExceeded: final(0x81),
  // Command specific status (figure 129).
  completionQueueInvalid: final(0x100),
  invalidQueueIdentifier: final(0x101),
  invalidQueueSize: final(0x102),
  eventRequestLimitExceeded: final(0x105),
  invalidInterruptVector: final(0x108),
  invalidLogPage: final(0x109),
  invalidQueueDeletion: final(0x10c),
  featureNotSaveable: final(0x10d),
  featureNotNamespaceSpecific: final(0x10f),
  // Media and data integrity errors (figure 131).
  writeFault: 0x280,
  unrecoveredReadError: 0x281,
} as const

/** What a command's handler returns instead of a status when its completion comes later. */
export const HELD = -1
