/**
 * Descriptors of the invalidation queue: 16 bytes as words 0…3 (low to high). Source: VT-d specification, “Queued Invalidation
 * Interface”; facts A.5.
 */
export const DESCRIPTOR_BYTES = 16
/** Descriptors in the smallest queue: one page. */
export const DESCRIPTORS_PER_PAGE = 256

/** Word 0, 3:0. Bits 6:4 of the type lie in word 0, 11:9: all legacy types have 0 there. */
export const DescriptorType = { context: 1, iotlb: 2, deviceTlb: 3, interruptEntry: 4, wait: 5 } as const
export const DESCRIPTOR_TYPE_MASK = 0xf

/** 1: context-cache invalidation. Word 0: 5:4 granularity, 31:16 domain id. Word 1: 15:0 source id, 17:16 function mask. */
export const ContextDescriptor = {
  granularityShift: 4,
  domainShift: 16,
  functionMaskShift: 16,
  reserved0: 0x0000_ffc0,
  reserved1: 0xfffc_0000 | 0,
} as const

/** 2: IOTLB invalidation. Word 0: 5:4 granularity, 31:16 domain id. Words 2, 3: as IVA (63:12 address, 6 IH, 5:0 AM). */
export const IotlbDescriptor = {
  granularityShift: 4,
  drainWrites: 0x40,
  drainReads: 0x80,
  domainShift: 16,
  reserved0: 0x0000_ff00,
  reserved2: 0x0000_0f80,
} as const

/** 3: device TLB invalidation, with ECAP.DT. Word 0: 20:16 pending requests that the device takes. Word 1: 15:0 source id. Words 2, 3: address, bit 0 size. */
export const DeviceTlbDescriptor = {
  reserved0: 0xffe0_fff0 | 0,
  reserved1: 0xffff_0000 | 0,
  reserved2: 0x0000_0ffe,
} as const

/** 4: interrupt entry cache invalidation, with ECAP.IR. Word 0: 31:27 mask, 2^mask entries. Word 1: 15:0 index. */
export const InterruptDescriptor = {
  /** G: by index; else everything. */
  byIndex: 0x10,
  orderShift: 27,
  reserved0: 0x07ff_ffe0,
  reserved1: 0xffff_0000 | 0,
} as const

/** 5: wait. Word 0: flags. Word 1: status data. Words 2, 3: address of the status word, 4-byte aligned. */
export const WaitDescriptor = {
  /** IF: set ICS.IWC and send the invalidation event. */
  interrupt: 0x10,
  /** SW: write the status data. */
  statusWrite: 0x20,
  /** FN: later descriptors start only after this one. */
  fence: 0x40,
  /** With 7 PD, which needs page requests. */
  reserved0: 0xffff_ff80 | 0,
  reserved2: 0x3,
} as const
