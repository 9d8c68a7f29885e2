/**
 * Page table entries: one flat table of 4-byte little-endian words, one per 4 KiB page of the aperture. There are no rights in them,
 * and nothing names a device: whoever reaches the aperture may do anything. Source: facts D; OpenBSD's amdgart.
 */
export const PageEntry = {
  valid: 0x1,
  /** Accesses to the page look into CPU caches. */
  coherent: 0x2,
  /** 3:2: hardware does not look at them. */
  reserved: 0xc,
  /** 11:4 = physical address 39:32; 31:12 = 31:12. */
  addressHigh: 0xff0,
  addressHighShift: 16,
} as const

/** 4-byte entries in a frame of the table. */
export const ENTRIES_PER_PAGE = 1024
/** Frames that an entry can name are below this: 1 TiB. */
export const FRAME_END = 1 << 28

// What is exported is looked up each time it is used; these the compiler folds.
const { addressHigh: HIGH, addressHighShift: HIGH_SHIFT } = PageEntry

/** The frame that `entry` names, whether or not it is valid. */
export function frameOf(entry: number): number {
  return ((entry & HIGH) << HIGH_SHIFT) | (entry >>> 12)
}

/** An entry that names `mfn` (below {@link FRAME_END}) with `flags` of {@link PageEntry}. */
export function entryOf(mfn: number, flags: number): number {
  return (mfn << 12) | ((mfn >>> PageEntry.addressHighShift) & PageEntry.addressHigh) | flags
}
