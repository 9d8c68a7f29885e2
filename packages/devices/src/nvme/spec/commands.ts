/** Commands and completions as they lie in queues (NVMe 1.4 sections 4.2, 4.6). Fields are named by their 32-bit word. */

export const SQE_BYTES = 64
export const CQE_BYTES = 16
export const PAGE = 4096

/** Words of a submission queue entry (4.2, figure 105). */
export const Sqe = {
  /** Opcode 7:0, FUSE 9:8, PSDT 15:14, command identifier 31:16. */
  cdw0: 0,
  nsid: 1,
  /** PRP entry 1 and 2, 64 bits each. */
  prp1: 6,
  prp2: 8,
  cdw10: 10,
  cdw11: 11,
  cdw12: 12,
  cdw13: 13,
} as const

/** Bits of cdw0 that must be 0 here: no fused commands, and PRPs instead of SGLs (4.2). */
export const CDW0_UNSUPPORTED = 0xc300

/** Words of a completion queue entry (4.6, figure 121). */
export const Cqe = {
  /** Command specific result. */
  dw0: 0,
  dw1: 1,
  /** Submission queue head 15:0, submission queue identifier 31:16. */
  queue: 2,
  /** Command identifier 15:0, phase 16, status 31:17. */
  status: 3,
} as const

export const PHASE = 1 << 16
export const STATUS_SHIFT = 17

/** Admin opcodes (5, figure 139). */
export const AdminOpcode = {
  deleteSubmissionQueue: 0x00,
  createSubmissionQueue: 0x01,
  getLogPage: 0x02,
  deleteCompletionQueue: 0x04,
  createCompletionQueue: 0x05,
  identify: 0x06,
  abort: 0x08,
  setFeatures: 0x09,
  getFeatures: 0x0a,
  asynchronousEventRequest: 0x0c,
} as const

/** I/O opcodes of the NVM command set (6, figure 346). */
export const IoOpcode = { flush: 0x00, write: 0x01, read: 0x02 } as const

/** Force Unit Access in cdw12 of a write (6.15): the data is on stable media before the command completes. */
export const FORCE_UNIT_ACCESS = 1 << 30

/** The one namespace, and the identifier that means every namespace. */
export const NAMESPACE = 1
export const ALL_NAMESPACES = 0xffff_ffff

/** Bytes of a logical block. */
export const BLOCK_BYTES = 512

/** Largest data transfer of a command: 2^MDTS pages (5.15.2.2). */
export const MDTS = 7
export const MAX_TRANSFER = PAGE << MDTS
