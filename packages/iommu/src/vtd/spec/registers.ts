/**
 * Registers of an Intel VT-d unit: byte offsets from its base, and bit masks in the 32-bit half where a bit lies. Registers of 64
 * bits are named by their lower half; the upper half is at +4. Source: Intel VT-d specification chapter “Register Descriptions”,
 * as in the facts A.1.
 */

/** Byte offsets. */
export const Register = {
  /** RO 32: 7:4 major, 3:0 minor version. */
  version: 0x000,
  /** RO 64: see capabilities.ts. */
  capability: 0x008,
  /** RO 64: see capabilities.ts. */
  extendedCapability: 0x010,
  /** WO 32: one command per write; the other bits repeat {@link GlobalCommand.persistent} of the status. */
  globalCommand: 0x018,
  /** RO 32: the state of each command. */
  globalStatus: 0x01c,
  /** RW 64: root table pointer, latched by SRTP. */
  rootTable: 0x020,
  /** RW 64: context-cache invalidation; started by the upper half. */
  contextCommand: 0x028,
  /** RW1C 32. */
  faultStatus: 0x034,
  /** RW 32: mask and pending bit of the fault event. */
  faultEventControl: 0x038,
  faultEventData: 0x03c,
  faultEventAddress: 0x040,
  faultEventUpperAddress: 0x044,
  /** RO 64: byte offset of the next descriptor that hardware fetches. */
  queueHead: 0x080,
  /** RW 64: byte offset behind the last descriptor that software wrote. */
  queueTail: 0x088,
  /** RW 64: queue address, size and descriptor width; latched by QIE. A write sets head and tail to 0. */
  queueAddress: 0x090,
  /** RW1C 32: bit 0 a wait descriptor with IF completed. */
  invalidationStatus: 0x09c,
  /** RW 32: mask and pending bit of the invalidation event. */
  invalidationEventControl: 0x0a0,
  invalidationEventData: 0x0a4,
  invalidationEventAddress: 0x0a8,
  invalidationEventUpperAddress: 0x0ac,
  /** RO 64: what went wrong, while FSTS says that something did; see {@link QueueError}. */
  queueErrorRecord: 0x0b0,
  /** RW 64: interrupt remapping table, latched by SIRTP. */
  interruptTable: 0x0b8,
} as const

/** IVA and IOTLB registers, at ECAP.IRO × 16. */
export const IotlbRegister = { address: 0x0, command: 0x8, bytes: 0x10 } as const
/** Bytes of a fault recording register; the first is at CAP.FRO × 16. */
export const FAULT_RECORD_BYTES = 16
/** Bytes of a unit's register block. */
export const REGISTER_BYTES = 0x1000

/** GCMD and GSTS bits (same places): command / status. */
export const GlobalCommand = {
  /** Translation. */
  translation: 0x8000_0000 | 0,
  /** Latch the root table pointer (one-shot); the status drops while it runs. */
  rootTable: 0x4000_0000,
  /** Latch the fault log pointer (one-shot; advanced logging, not implemented). */
  faultLog: 0x2000_0000,
  advancedFaultLog: 0x1000_0000,
  /** Flush the chipset's write buffer (one-shot); the status is 1 while it runs. */
  writeBuffer: 0x0800_0000,
  /** Queued invalidation. */
  queue: 0x0400_0000,
  interruptRemapping: 0x0200_0000,
  /** Latch the interrupt table pointer (one-shot); the status drops while it runs. */
  interruptTable: 0x0100_0000,
  /** Interrupt messages of the old format pass, while remapping is on and EIME is 0. */
  compatibilityInterrupts: 0x0080_0000,
  /** The bits that a write of another command must repeat from the status. */
  persistent: 0x9680_0000 | 0,
} as const

/** RTADDR low half: 63:12 address, 11:10 translation table mode (0 legacy). */
export const RootTableRegister = { addressMask: 0xffff_f000 | 0, modeMask: 0xc00 } as const

/** CCMD upper half. The lower half: 31:16 source id, 15:0 domain id. */
export const ContextCommand = {
  /** Invalidate: set by software, cleared by hardware when done. */
  invalidate: 0x8000_0000 | 0,
  granularityShift: 29,
  actualShift: 27,
  /** 1:0: how many low bits of the function number are ignored. */
  functionMask: 0x3,
} as const

/** IOTLB upper half. */
export const IotlbCommand = {
  invalidate: 0x8000_0000 | 0,
  granularityShift: 28,
  actualShift: 25,
  drainReads: 0x2_0000,
  drainWrites: 0x1_0000,
  /** 15:0 domain id. */
  domainMask: 0xffff,
} as const

/** Granularity of an invalidation, as asked for (CIRG, IIRG, G of descriptors) and as done (CAIG, IAIG; 0 = refused). */
export const Granularity = { refused: 0, global: 1, domain: 2, device: 3, page: 3 } as const

/** IVA low half and the upper quadword of an IOTLB descriptor: 31:12 address, and these. */
export const InvalidationAddress = {
  /** Only leaf entries changed: paging-structure caches may stay. */
  leafOnly: 0x40,
  /** 5:0 AM: 2^AM pages, naturally aligned. */
  orderMask: 0x3f,
} as const

/** FSTS bits. */
export const FaultStatus = {
  /** PFO, RW1C: a fault found no free record. */
  overflow: 0x01,
  /** PPF, RO: some record has its F bit set. */
  pending: 0x02,
  /** IQE, RW1C: the invalidation queue stopped at a bad descriptor. */
  queueError: 0x10,
  /** ICE, RW1C: a device completed an invalidation that it was not asked for. RsvdZ without ECAP.DT. */
  completionError: 0x20,
  /** ITE, RW1C: a device did not complete an invalidation in time. RsvdZ without ECAP.DT. */
  timeout: 0x40,
  /** All bits that make the fault event pending. */
  events: 0x73,
  clearable: 0x71,
  /** Those of it that need ECAP.DT. */
  deviceTlb: 0x60,
  /** 15:8 FRI: index of the first pending record, undefined while PPF is 0. */
  indexShift: 8,
} as const

/** FECTL and IECTL bits. */
export const EventControl = {
  /** IM, RW, 1 after reset: the message is held back. */
  masked: 0x8000_0000 | 0,
  /** IP, RO: a message is held back. */
  pending: 0x4000_0000,
} as const

/** Words 2 and 3 of a fault recording register; words 0 and 1 are the page address of the request. */
export const FaultRecord = {
  /** Word 2: 15:0 source id. */
  sourceMask: 0xffff,
  /** Word 3: F, RW1C, written last by hardware. */
  fault: 0x8000_0000 | 0,
  /** Word 3: T, 1 for a read request. */
  read: 0x4000_0000,
  /** Word 3: 29:28 AT of the request, with ECAP.DT. */
  addressTypeShift: 28,
  /** Word 3: 7:0 fault reason. */
  reasonMask: 0xff,
} as const

/** IQA low half. */
export const QueueAddress = {
  addressMask: 0xffff_f000 | 0,
  /** DW: 256-bit descriptors; reserved without scalable mode. */
  wide: 0x800,
  /** 2:0 QS: 2^QS pages, 2^(QS+8) descriptors of 16 bytes. */
  sizeMask: 0x7,
} as const

/** IQERCD 3:0 IQEI: why the queue stopped. The upper half: 15:0 source id of ITE, 31:16 of ICE. */
export const QueueError = {
  none: 0,
  tail: 1,
  fetch: 2,
  type: 3,
  /** A reserved field, or a value that is reserved, in a descriptor of a valid type. */
  reserved: 4,
  /** IQA.DW = 1 without scalable mode. */
  width: 5,
} as const

/** IRTA low half. */
export const InterruptTableAddress = {
  addressMask: 0xffff_f000 | 0,
  /** EIME: destinations have 32 bits, and messages of the old format are blocked. RsvdZ without ECAP.EIM. */
  extended: 0x800,
  /** 3:0 S: 2^(S+1) entries. */
  sizeMask: 0xf,
} as const

/** Registers for single invalidations do not work from this major version on: each request is refused. */
export const QUEUE_ONLY_VERSION = 6
/** From this major version on an invalidation drains, whether or not it is asked to. */
export const DRAINING_VERSION = 2

/** ICS bit 0: a wait with IF completed. */
export const WAIT_COMPLETE = 0x1
