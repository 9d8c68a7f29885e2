/**
 * Interrupt remapping table entries, as words 0…3 (low to high), and the messages that name them. Source: VT-d specification, “Interrupt
 * Remapping Table Entry” and “Interrupt Request Formats”; facts G.
 */

/** IRTE: 16 bytes, index = what the message says. */
export const InterruptEntry = {
  /** Word 0: P. */
  present: 0x1,
  /** Word 0: FPD, whether or not the entry is present. */
  faultsDisabled: 0x2,
  /** Word 0: 2 destination mode, 3 redirection hint, 4 trigger mode, 11:8 for software. 7:5 delivery mode. */
  modeShift: 5,
  modeMask: 0x7,
  /** Word 0: 23:16 vector. */
  vectorShift: 16,
  vectorMask: 0xff,
  /** Word 0: 14:12, 31:24, and 15 IM (posted format), which needs CAP.PI. */
  reserved0: 0xff00_f000 | 0,
  /** Word 1, the destination: with EIME = 0 only 15:8 are. */
  reserved1: 0xffff_00ff | 0,
  /** Word 2: 15:0 SID, 17:16 SQ, 19:18 SVT. */
  qualifierShift: 16,
  qualifierMask: 0x3,
  validationShift: 18,
  validationMask: 0x3,
  reserved2: 0xfff0_0000 | 0,
} as const

/** SVT: how the requester id of a message is checked. */
export const SourceValidation = {
  none: 0,
  /** It is SID, in the bits that SQ says. */
  sourceId: 1,
  /** Its bus is from SID 15:8 to SID 7:0, both included. */
  busRange: 2,
} as const

/** Bits of the requester id that count, by SQ. */
export const QUALIFIER_MASKS = [0xffff, 0xfffb, 0xfff9, 0xfff8] as const

/** A remappable message: the address (15:0 of the handle in 19:5 and 2) and the data. */
export const RemappableMessage = {
  /** Address 4: 1, else it is of the old format. */
  format: 0x10,
  /** Address 3 SHV: data 15:0 are added to the handle. */
  subhandleValid: 0x8,
  /** Address 19:5: handle 14:0; address 2: handle 15. */
  handleShift: 5,
  handleMask: 0x7fff,
  handleHigh: 0x4,
  /** Data 31:16, reserved with SHV; without it the data are ignored. */
  reservedData: 0xffff_0000 | 0,
} as const

/** Entries that fit into one page, and bytes of each. */
export const INTERRUPT_ENTRIES_PER_PAGE = 256
export const INTERRUPT_ENTRY_BYTES = 16
