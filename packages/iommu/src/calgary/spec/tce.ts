/**
 * The table of a bridge: its address register (TAR), and its entries (TCEs), as (high, low) 32-bit halves of the 64-bit values. In memory
 * entries are big-endian. One flat array, 4 KiB pages. Source: Linux pci-calgary_64.c, asm/tce.h; facts C.1.
 */
export const TableRegister = {
  /** High half: 47:32 of the table's address. */
  addressHigh: 0xffff,
  /** Low half: 31:15 of it. */
  addressLow: 0xffff_8000 | 0,
  /** Low half: 3. Linux never sets it, so units do not look at it unless told to. */
  valid: 0x8,
  /** Low half: 2:0 size code. */
  sizeMask: 0x7,
  /** What software owns (0x0000FFFFFFFF800F): all other bits are to be preserved. */
  softwareHigh: 0xffff,
  softwareLow: 0xffff_800f | 0,
} as const

/** Size code 0…7: 2^(13 + code) entries of 8 bytes, for 2^(25 + code) bytes of I/O space, in 2^(4 + code) pages, naturally aligned. */
export const SizeCode = {
  largest: 7,
  /** log2 of the bytes of I/O space, of the entries and of the table's pages with code 0. */
  spaceShift: 25,
  entriesShift: 13,
  pagesShift: 4,
} as const

export const TableEntry = {
  /** Low half: 0 read, 1 write; neither: there is nothing. */
  read: 0x1,
  write: 0x2,
  rights: 0x3,
  /** Low half: 7:2 hub id, 11:8 reserved: not looked at. 31:12 of the real page's address. */
  addressLow: 0xffff_f000 | 0,
  /** High half: 47:32 of it. 63:48 are unused. */
  addressHigh: 0xffff,
} as const
