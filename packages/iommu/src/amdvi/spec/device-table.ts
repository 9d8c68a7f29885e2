/**
 * Device table entry: 32 bytes as words 0…7 (low to high), index = requester id. Source: AMD 48882 “Device Table Entry Format”;
 * facts B.3.
 */
export const DEVICE_ENTRY_BYTES = 32
/** Entries in one frame of the table, and 8-byte words of one. */
export const DEVICE_ENTRIES_PER_PAGE = 128
export const QUADWORDS_PER_ENTRY = 4

/** Words 0 and 1: quadword 0. */
export const DeviceEntry = {
  /** Word 0: V. 0: requests pass untranslated and unchecked. */
  valid: 0x1,
  /** Word 0: TV. 0 with V = 1: a request that needs a walk is aborted. */
  translationValid: 0x2,
  /** Word 0: 6:2 reserved (6:4 are memory attributes since revision 3.11, not implemented). */
  reserved0: 0x7c,
  /** Word 0: 8:7 HAD: bit 0 accessed bits, bit 1 dirty bits too. */
  accessed: 0x80,
  dirty: 0x100,
  /** Word 0: 11:9 Mode: 0 no translation, 1…6 levels, 7 reserved. 31:12 table address. */
  modeShift: 9,
  modeMask: 0x7,
  /** Word 1: 19:0 table address; 28:20 guest translation, not looked at while GTEn is 0. */
  addressHigh: 0xf_ffff,
  /** Word 1: IR, IW as rights: bit 0 read, bit 1 write. */
  rightsShift: 29,
  rightsMask: 0x3,
  /** Word 1: bit 63 of the quadword. */
  reserved1: 0x8000_0000 | 0,
} as const

/** Word 2 is 15:0 domain id, 31:16 guest table; word 3 as here; both: quadword 1. */
export const DeviceFlags = {
  /** SE: only the first page fault is logged. */
  suppressFurther: 0x2,
  /** SA: page faults are not logged. */
  suppressAll: 0x4,
} as const

/** Words 4 and 5: quadword 2, interrupts. */
export const DeviceInterrupts = {
  /** Word 4: IV. 0: interrupt messages pass unmapped. */
  valid: 0x1,
  /** Word 4: 4:1 IntTabLen: 2^n entries, at most 11. */
  lengthShift: 1,
  lengthMask: 0xf,
  maxLength: 11,
  /** Word 4: IG: interrupts whose entry does not remap are not logged. */
  ignoreUnmapped: 0x20,
  /** Word 4: 31:6, word 5: 19:0: table address. */
  addressLow: 0xffff_ffc0 | 0,
  addressHigh: 0xf_ffff,
  /** Word 5: 53:52 of the quadword. */
  reserved5: 0x30_0000,
  /** Word 5: InitPass, EIntPass, NMIPass. */
  passInit: 0x100_0000,
  passExternal: 0x200_0000,
  passNmi: 0x400_0000,
  /** Word 5: 29:28 IntCtl of fixed and arbitrated interrupts. */
  controlShift: 28,
  controlMask: 0x3,
} as const

/** IntCtl. */
export const InterruptControl = { abort: 0, forward: 1, remap: 2, reserved: 3 } as const

/** Words 6 and 7: quadword 3. 14:0 and 53:48 are reserved. */
export const DeviceReserved = { word6: 0x7fff, word7: 0x3f_0000 } as const
