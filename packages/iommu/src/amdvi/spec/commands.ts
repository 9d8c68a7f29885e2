/**
 * Commands: 16 bytes as words 0…3 (low to high), the opcode in word 1, 31:28. Source: AMD 48882 “Commands”; facts B.5. Reserved
 * bits that are not 0 make a command illegal.
 */
export const OPCODE_SHIFT = 28

export const Opcode = {
  completionWait: 1,
  invalidateDevice: 2,
  invalidatePages: 3,
  /** Device TLBs: needs IotlbSup of the PCI capability. */
  invalidateDeviceTlb: 4,
  invalidateInterrupts: 5,
  /** Needs EFR.PreFSup. */
  prefetch: 6,
  /** Needs EFR.PPRSup. */
  completePageRequest: 7,
  /** Needs EFR.IASup. */
  invalidateAll: 8,
} as const

/** Word 0: flags and 31:3 of the store's address; word 1: 19:0 its upper part; words 2, 3: data. */
export const CompletionWait = {
  /** s: write the 8 bytes of data. */
  store: 0x1,
  /** i: set Status.ComWaitInt. */
  interrupt: 0x2,
  /** f: later commands start only after this one. */
  flush: 0x4,
  addressLow: 0xffff_fff8 | 0,
  addressHigh: 0xf_ffff,
  reserved1: 0x0ff0_0000,
} as const

/** INVALIDATE_DEVTAB_ENTRY, INVALIDATE_INTERRUPT_TABLE. Word 0: 15:0 requester. */
export const InvalidateDevice = { reserved0: 0xffff_0000 | 0, reserved1: 0x0fff_ffff } as const

/** INVALIDATE_IOMMU_PAGES. Word 0: 19:0 PASID, without meaning while GN is 0. Word 1: 15:0 domain. Words 2, 3: flags and address. */
export const InvalidatePages = {
  /** S: the size is in the address: 2^(first zero bit from 12 up + 1) bytes. 0: the 4 KiB page. */
  sized: 0x1,
  /** PDE: directories too. */
  directories: 0x2,
  /** GN: guest addresses; reserved without EFR.GTSup. */
  guest: 0x4,
  reserved0: 0xfff0_0000 | 0,
  reserved1: 0x0fff_0000,
  reserved2: 0x0000_0ffc,
} as const

/** PREFETCH_IOMMU_PAGES: a hint that this model does not take. Word 0: 15:0 requester, 31:24 count; word 1: 15:0 domain or PASID. */
export const Prefetch = { reserved0: 0x00ff_0000, reserved1: 0x07f0_0000, reserved2: 0x0000_0fea } as const

/** INVALIDATE_IOMMU_ALL. */
export const InvalidateAll = { reserved1: 0x0fff_ffff } as const

/** Words 2 and 3 of an INVALIDATE_IOMMU_PAGES for everything in a domain: address 0x7FFF_FFFF_FFFF_F000 with S. */
export const ALL_PAGES = { hi: 0x7fff_ffff, lo: 0xffff_f000 | 0 } as const
/** Orders from here on mean all pages: a first zero bit of 51 or above. */
export const ORDER_ALL = 40
