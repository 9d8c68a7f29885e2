/** Sizes of the bounce buffer pool (Linux include/linux/swiotlb.h). */

/** log2 of the bytes of a slot. */
export const IO_TLB_SHIFT = 11
/** Bytes of a slot. */
export const IO_TLB_SIZE = 1 << IO_TLB_SHIFT
/** Slots of a set: no mapping crosses one, so 256 KiB is the largest. */
export const IO_TLB_SEGSIZE = 128
/** Bytes of the pool without `swiotlb=`. */
export const IO_TLB_DEFAULT_SIZE = 64 << 20
/** The pool is never smaller. */
export const IO_TLB_MIN_SIZE = 1 << 20
