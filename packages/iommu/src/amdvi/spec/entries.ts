/**
 * I/O page table entries (version 1 tables) as (high, low) 32-bit halves: 512 to a table, 128 used at level 6. Source: AMD 48882
 * “I/O Page Tables”; facts B.4.
 */
export const PageEntry = {
  /** Low half: PR. Nothing else of an absent entry is looked at. */
  present: 0x1,
  /** Low half: A, D; set by units with HASup, HDSup. 4:1 and 8:7 ignored. */
  accessed: 0x20,
  dirty: 0x40,
  /** Low half: 11:9 NextLevel: 0 a leaf of the level's default size, 7 a leaf whose size is in its address, 1…6 a table of that level. */
  nextShift: 9,
  nextMask: 0x7,
  /** Low half: 31:12 address. */
  addressLow: 0xffff_f000 | 0,
  /** High half: 51:32 address. */
  addressHigh: 0xf_ffff,
  /** High half: reserved bits of a leaf (58:52) and of a table entry (60:52). 63 is ignored. */
  reservedLeaf: 0x07f0_0000,
  reservedTable: 0x1ff0_0000,
  /** Low half: PR and NextLevel. High half: what an entry with a frame below 2^31 does without. */
  kind: 0xe01,
  strangeHigh: 0x9fff_f800 | 0,
  /** High half, of leaves only: U; FC, forces coherent DMA; both. */
  user: 0x0800_0000,
  forceCoherent: 0x1000_0000,
  leafOnly: 0x1800_0000,
  /** High half: IR, IW as rights: bit 0 read, bit 1 write. */
  rightsShift: 29,
} as const

/** Rights as {@link PageEntry.rightsShift} and IOTLBs have them. */
export const Rights = { read: 1, write: 2, both: 3 } as const

/** NextLevel of leaves. */
export const NextLevel = { leaf: 0, sizedLeaf: 7 } as const

/** log2 of the bytes that one entry of `level` spans. */
export const levelShift = (level: number): number => 3 + 9 * level

/** Address bits of a table of `levels` levels: the sixth has 7 index bits. */
export const widthOf = (levels: number): number => (levels === 6 ? 64 : 12 + 9 * levels)
