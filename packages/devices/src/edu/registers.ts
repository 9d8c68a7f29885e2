/**
 * The registers of QEMU's educational PCI device, as facts: offsets in BAR 0, bits, and the place of its buffer. Source: QEMU,
 * docs/specs/edu; behaviour that the document leaves open: QEMU 7.2 to 10.0, observed.
 */
export const EDU_BAR_BYTES = 0x10_0000

/** Below 0x80 accesses have 4 bytes, from there on 4 or 8. What is not here reads all ones, as does an access of another size. */
export const EduRegister = {
  /** Read-only: {@link EDU_IDENTIFICATION}. */
  identification: 0x00,
  /** Reads the complement of what was written. */
  liveness: 0x04,
  /** A number; its factorial when {@link EduStatus.computing} is clear again. Not written while it computes. */
  factorial: 0x08,
  /** {@link EduStatus}. */
  status: 0x20,
  /** Read-only: why interrupts were raised. */
  interruptStatus: 0x24,
  /** Write-only: these bits into the interrupt status, and an interrupt. */
  interruptRaise: 0x60,
  /** Write-only: these bits out of the interrupt status. */
  interruptAcknowledge: 0x64,
  /** 8 bytes each; 4 written bytes clear the others. Not written while a transfer runs. */
  source: 0x80,
  destination: 0x88,
  count: 0x90,
  /** {@link EduCommand}; written without `run` it stays as it is. */
  command: 0x98,
} as const

/** 31:24 major, 23:16 minor version, 15:0 always 0x00ED. */
export const EDU_IDENTIFICATION = 0x0100_00ed

export const EduStatus = {
  /** Read-only. */
  computing: 0x01,
  /** Raise {@link EduInterrupt.factorial} when it is done. */
  interruptWhenComputed: 0x80,
} as const

export const EduCommand = {
  /** Start; reads 1 until the transfer is done. */
  run: 0x1,
  /** From the buffer to the bus; clear: from the bus to the buffer. */
  fromBuffer: 0x2,
  /** Raise {@link EduInterrupt.dma} when it is done. */
  interruptWhenDone: 0x4,
} as const

/** Bits that the device itself puts into the interrupt status. */
export const EduInterrupt = { factorial: 0x001, dma: 0x100 } as const

/** Where the buffer lies in the device's own address space, which source and destination of a transfer name it by. */
export const EDU_BUFFER = 0x4_0000
export const EDU_BUFFER_BYTES = 4096
