/** Facts of the NVM Express specification, revision 1.4, as far as the driver uses them. Offsets in bytes, words of 32 bits. */

/** Controller registers (section 3.1). */
export const Register = {
  capLow: 0x00,
  capHigh: 0x04,
  version: 0x08,
  config: 0x14,
  status: 0x1c,
  adminAttributes: 0x24,
  adminSubmissionLow: 0x28,
  adminSubmissionHigh: 0x2c,
  adminCompletionLow: 0x30,
  adminCompletionHigh: 0x34,
  doorbells: 0x1000,
} as const

/** Fields of CAP (3.1.1). */
export const Cap = {
  /** Entries of the largest queue, less one: 15:0 of the low word. */
  maxQueueEntries: (low: number): number => (low & 0xffff) + 1,
  /** Worst time to become ready, ns: 31:24 of the low word, in 500 ms. */
  timeout: (low: number): number => (low >>> 24) * 500e6,
  /** Bytes between doorbells: 4 << (3:0 of the high word). */
  doorbellStride: (high: number): number => 4 << (high & 0xf),
  /** Smallest page, log2 of bytes: 12 + (19:16 of the high word). */
  minPageShift: (high: number): number => 12 + ((high >>> 16) & 0xf),
} as const

/** Fields of CC (3.1.5). Pages of 4 KiB and the NVM command set are zeros. */
export const Config = {
  enable: 1,
  /** Entries of 2^6 and 2^4 bytes. */
  entrySizes: (6 << 16) | (4 << 20),
  shutdownMask: 3 << 14,
  shutdownNormal: 1 << 14,
} as const

/** Fields of CSTS (3.1.6). */
export const Status = { ready: 1, fatal: 2, shutdownMask: 3 << 2, shutdownComplete: 2 << 2 } as const

export const AdminOp = {
  createSubmissionQueue: 0x01,
  createCompletionQueue: 0x05,
  identify: 0x06,
  setFeatures: 0x09,
} as const
export const IoOp = { flush: 0x00, write: 0x01, read: 0x02 } as const

/** Words of a submission queue entry (4.2). */
export const Sqe = { command: 0, namespace: 1, prp1: 6, prp2: 8, cdw10: 10, cdw11: 11, cdw12: 12 } as const
export const SQE_BYTES = 64
/** Words of a completion queue entry (4.6). The phase is bit 16 and the status 31:17 of the last. */
export const Cqe = { result: 0, queue: 2, status: 3 } as const
export const CQE_BYTES = 16
export const PHASE_SHIFT = 16
export const STATUS_SHIFT = 17
/** Status code and its type, without More and Do Not Retry (4.6.1). */
export const STATUS_MASK = 0x7ff
/** Generic status: Invalid Command Opcode. */
export const STATUS_INVALID_OPCODE = 0x01

/** Flags of create commands, word 11 (5.3, 5.4). */
export const CreateQueue = { contiguous: 1, interrupts: 2 } as const
/** Number of Queues (5.21.1.7). */
export const FEATURE_QUEUES = 0x07

/** Controller or Namespace Structure of Identify (5.15.1). */
export const Cns = { namespace: 0, controller: 1, activeNamespaces: 2 } as const
export const IDENTIFY_BYTES = 4096
/** Offsets in the Identify Controller data (figure 247). */
export const IdentifyController = { serial: 4, model: 24, maxTransfer: 77, namespaces: 516 } as const
/** Offsets in the Identify Namespace data (figure 245). */
export const IdentifyNamespace = { size: 0, formatIndex: 26, attributes: 99, formats: 128 } as const
/** Bit of the namespace attributes: write protected. */
export const WRITE_PROTECTED = 1
