/** Controller registers in BAR0 (NVMe 1.4 section 3.1). Offsets in bytes; 64-bit registers are two words, the lower one first. */
export const Register = {
  /** Controller Capabilities, 64 bits, read-only (3.1.1). */
  cap: 0x00,
  /** Version (3.1.2). */
  vs: 0x08,
  /** Interrupt Mask Set and Clear: write one per vector; reads give the mask (3.1.3, 3.1.4). */
  intms: 0x0c,
  intmc: 0x10,
  /** Controller Configuration (3.1.5). */
  cc: 0x14,
  /** Controller Status, read-only (3.1.6). */
  csts: 0x1c,
  /** Admin Queue Attributes: entries − 1 of the submission queue in 11:0, of the completion queue in 27:16 (3.1.8). */
  aqa: 0x24,
  /** Admin Submission and Completion Queue Base Address, 64 bits, page aligned (3.1.9, 3.1.10). */
  asq: 0x28,
  acq: 0x30,
  /** First doorbell; queue y has its submission tail at + 8y and its completion head at + 8y + 4 (3.1.24, 3.1.25; stride 0). */
  doorbells: 0x1000,
} as const

/** BAR0: two pages of registers and room for the doorbells. */
export const BAR_BYTES = 0x4000

/** Version 1.4.0. */
export const VERSION = 0x0001_0400

/** The largest queue, in entries. */
export const MAX_QUEUE_ENTRIES = 1024

/** Low word of CAP (3.1.1). */
export const CAP_LOW =
  /* MQES 15:0, 0's based: largest I/O queue */ (MAX_QUEUE_ENTRIES - 1) |
  /* CQR 16: queues must be contiguous */ (1 << 16) |
  /* AMS 18:17 = 0: plain round robin only */
  /* TO 31:24: longest wait for CSTS.RDY, in 500 ms */ (10 << 24)

/** High word of CAP: DSTRD 3:0 = 0 (doorbells 4 bytes apart), CSS bit 5 = NVM command set, MPSMIN = MPSMAX = 0 (4 KiB pages only). */
export const CAP_HIGH = 1 << 5

/** Fields of CC (3.1.5). */
export const Cc = {
  enable: 1,
  /** Must be 0: the NVM command set. */
  css: 0x70,
  /** Must be 0: 4 KiB pages. */
  mps: 0x780,
  /** Must be 0: round robin. */
  ams: 0x3800,
  /** Shutdown notification: 0 none, 1 normal, 2 abrupt. */
  shn: 0xc000,
  shnShift: 14,
  /** log2 of the size of an I/O submission queue entry: 6. */
  iosqesShift: 16,
  /** log2 of the size of an I/O completion queue entry: 4. */
  iocqesShift: 20,
  /** Bits that exist. */
  writable: 0x00ff_fff1,
} as const

/** Fields of CSTS (3.1.6). */
export const Csts = {
  ready: 1,
  /** Controller Fatal Status: only a reset helps. */
  fatal: 2,
  /** Shutdown status: 0 normal operation, 1 processing, 2 complete. */
  shst: 0xc,
  shutdownProcessing: 4,
  shutdownComplete: 8,
} as const
