/**
 * Entries of the legacy-mode tables, as (high, low) 32-bit halves. Source: Intel VT-d specification, “Translation Structure
 * Formats”; facts A.2.
 */

/** Root entry: 16 bytes, index = bus. */
export const RootEntry = {
  /** Lower quadword, low half: P. */
  present: 0x1,
  /** Lower quadword, low half: 11:1 reserved; bits above the host address width are too. */
  reservedLow: 0xffe,
} as const

/** Context entry: 16 bytes, index = device and function. */
export const ContextEntry = {
  /** Lower quadword, low half. */
  present: 0x1,
  /** FPD: faults of this function are not recorded. Looked at whether or not the entry is present. */
  faultsDisabled: 0x2,
  /** 3:2 TT. */
  typeShift: 2,
  typeMask: 0x3,
  reservedLow: 0xff0,
  /** Upper quadword, low half: 2:0 AW, levels = AW + 2. */
  widthMask: 0x7,
  /** Upper quadword, low half: 6:3 are for software; 7 is reserved; 23:8 domain id; 31:24 reserved. */
  domainShift: 8,
  domainMask: 0xffff,
  reservedUpper: 0xff00_0080 | 0,
} as const

/** TT of a context entry. */
export const TranslationType = {
  /** Untranslated requests go through the table; others are blocked. */
  untranslated: 0,
  /** As 0, and ATS requests are served; needs ECAP.DT. */
  deviceTlb: 1,
  /** The address passes as it is; needs ECAP.PT. */
  passThrough: 2,
  reserved: 3,
} as const

/** Second-stage entry: 8 bytes, 512 to a table. It is present when R or W is set. */
export const PageEntry = {
  /** Low half. */
  read: 0x1,
  write: 0x2,
  rights: 0x3,
  /** PS: a leaf of 2 MiB at level 2, of 1 GiB at level 3; must be 0 above; ignored at level 1. */
  large: 0x80,
  /** SNP: leaf only, and only with ECAP.SC; else reserved. */
  snoop: 0x800,
  /** 31:12 address. */
  addressLow: 0xffff_f000 | 0,
  /** High half: 51:32 address; 61:52 and 63 ignored. */
  addressHigh: 0xf_ffff,
  /** TM: transient mapping; reserved without ECAP.DT. */
  transient: 0x4000_0000,
  /** Address bits that must be 0 in large leaves: 20:12, 29:12. */
  reserved2M: 0x1f_f000,
  reserved1G: 0x3fff_f000,
} as const

/** Bits of the high half that lie above a host address width of `bits` (33…52), up to bit 51. */
export const aboveHostWidth = (bits: number): number => (0xf_ffff << (bits - 32)) & 0xf_ffff

/** 4 KiB pages that one entry of `level` spans. */
export const pagesPerEntry = (level: number): number => 512 ** (level - 1)

/** Address bits of a table of `levels` levels. */
export const widthOf = (levels: number): number => 12 + 9 * levels
