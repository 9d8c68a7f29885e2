/**
 * Registers of an AMD-Vi unit: byte offsets in its 16 KiB block, and bit masks in the 32-bit half where a bit lies. Every register
 * has 64 bits and is named by its lower half; the upper half is at +4. Source: AMD I/O Virtualization Technology (IOMMU)
 * Specification 48882, “MMIO Registers”; facts B.2.
 */

/** Byte offsets. */
export const Register = {
  /** RW: device table base and size; locked while IommuEn is 1. */
  deviceTable: 0x0000,
  /** RW: command buffer base and length; locked while CmdBufEn is 1. A write sets head and tail to 0. */
  commandBuffer: 0x0008,
  /** RW: event log base and length; locked while EventLogEn is 1. A write sets head and tail to 0. */
  eventLog: 0x0010,
  /** RW: see {@link Control} and {@link ControlHigh}. */
  control: 0x0018,
  /** The exclusion range is not implemented: both registers read 0. */
  exclusionBase: 0x0020,
  exclusionLimit: 0x0028,
  /** RO: see features.ts. */
  features: 0x0030,
  /** The unit's MSI capability by MMIO, with EFR.MsiCapMmioSup: capability header (bit 16 enables), address, upper address, data. */
  messageControl: 0x0158,
  messageAddress: 0x015c,
  messageUpperAddress: 0x0160,
  messageData: 0x0164,
  /** RO: see features.ts. */
  features2: 0x01a0,
  /** 18:4 byte offset of the next command that hardware reads; software may write it while the buffer is off. */
  commandHead: 0x2000,
  /** RW: 18:4 byte offset behind the last command that software wrote. */
  commandTail: 0x2008,
  /** RW: 18:4 byte offset of the next event that software reads. */
  eventHead: 0x2010,
  /** 18:4 byte offset behind the last event that hardware wrote; software may write it while the log is off. */
  eventTail: 0x2018,
  /** See {@link Status}. */
  status: 0x2020,
} as const

/** Bytes of a unit's register block without performance counters. */
export const REGISTER_BYTES = 0x4000

/** DevTabBase, low half: 31:12 address, 8:0 size. */
export const DeviceTableRegister = {
  addressMask: 0xffff_f000 | 0,
  /** The table has (size + 1) × 4096 bytes. */
  sizeMask: 0x1ff,
  /** High half: 51:32 address. */
  addressHigh: 0xf_ffff,
} as const

/** CmdBufBase and EvtLogBase. */
export const RingRegister = {
  addressMask: 0xffff_f000 | 0,
  /** High half: 51:32 address. */
  addressHigh: 0xf_ffff,
  /** High half, 59:56: log2 of the entries; less than 8 is reserved. */
  lengthShift: 24,
  lengthMask: 0xf,
  minLength: 8,
} as const

/** Head and tail registers. */
export const RING_OFFSET_MASK = 0x7_fff0
/** Bytes of a command and of an event. */
export const RING_ENTRY_BYTES = 16

/** Control register, low half. */
export const Control = {
  /** IommuEn: translation and checks are on. */
  enable: 0x1,
  /** HtTunEn. */
  tunnel: 0x2,
  /** EventLogEn. */
  eventLog: 0x4,
  /** EventIntEn: EventLogInt and EventOverflow send the unit's message. */
  eventInterrupt: 0x8,
  /** ComWaitIntEn: ComWaitInt sends the unit's message. */
  waitInterrupt: 0x10,
  /** 7:5 InvTimeOut: 0 none, 1 1 ms, 2 10 ms, 3 100 ms, 4 1 s, 5 10 s, 6 100 s; for device TLBs only. */
  timeoutMask: 0xe0,
  /** PassPW, ResPassPW, Isoc: HyperTransport attributes. */
  passPosted: 0x100,
  responsePassPosted: 0x200,
  isochronous: 0x800,
  /** Coherent: the unit looks into CPU caches when it reads tables. */
  coherent: 0x400,
  /** CmdBufEn. */
  commandBuffer: 0x1000,
  /** GAEn: interrupt table entries have 128 bits; needs EFR.GASup. */
  guestApic: 0x2_0000,
} as const

/** Control register, high half. */
export const ControlHigh = {
  /**
   * 47:46 HADUpdate, with EFR.HASup. Kept, and without effect: which bits a unit sets in host tables is HAD's of the device table entry
   * alone, as Linux relies on (it sets HAD and leaves this 0).
   */
  hostUpdateMask: 0xc000,
  /** 44:43 NumIntRemapMode: 1 = every interrupt type is remapped, by 2048 entries; needs EFR2.NumIntRemapSup. */
  interruptModeShift: 11,
  interruptModeMask: 0x3,
  interruptMode2K: 0x1,
} as const

/**
 * Status register, low half. Bits 5 to 10 belong to the PPR and GA logs, which are not implemented. (For 8 to 10 Linux's order is
 * run, overflow, interrupt; Xen's differs, and current silicon follows Linux.)
 */
export const Status = {
  /** EventOverflow, RW1C: an event found no room; nothing is logged until the log is restarted. */
  eventOverflow: 0x1,
  /** EventLogInt, RW1C: an event was written. */
  eventInterrupt: 0x2,
  /** ComWaitInt, RW1C: a COMPLETION_WAIT with i completed. */
  waitInterrupt: 0x4,
  /** EventLogRun, RO. */
  eventRunning: 0x8,
  /** CmdBufRun, RO: 0 while off, and after an error in the buffer. */
  commandRunning: 0x10,
  clearable: 0x7,
} as const

/** MSI capability header as {@link Register.messageControl} shows it: bit 0 of the control word. */
export const MESSAGE_ENABLE = 0x1_0000
