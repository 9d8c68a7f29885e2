import { i32, pad, struct, u16, u32, u64 } from '@iospace/wire'
import { IOMMU_FLAG, iommu_list } from './common.ts'

/** Flags of unmap. */
export const UNMAP_FLAGS = Object.freeze({
  CONTINUE: IOMMU_FLAG.CONTINUE,
  /** Every mapping of the space; the list is empty. */
  ALL: IOMMU_FLAG.ALL,
  /** Nothing mapped in a part of the range is no error. */
  HOLES_OK: 1 << 3,
  NO_FLUSH: IOMMU_FLAG.NO_FLUSH,
})

/**
 * Sub-op 8, `unmap`: ends mappings. Without NO_FLUSH (or in a strict space) no device reaches the frames when it
 * returns. The space's owner, or the control domain. Per element: `EINVAL` (would split a mapping), `EOVERFLOW`,
 * `ENOENT` (a hole), `EADDRNOTAVAIL` (reserved identity range), `EACCES` (a grant mapping). For the call: `EFAULT`,
 * `EINVAL`, `EPERM` (a mirror), `ENOENT`, `EIO`.
 */
export const iommu_unmap = struct('iommu_unmap', {
  /** IN. */
  size: u32,
  /** IN: UNMAP_FLAGS. */
  flags: u32,
  /** IN: whose space. */
  domid: u16,
  pad0: pad(2),
  /** IN. */
  space: u32,
  /** OUT: elements that took effect. */
  done: u32,
  pad1: pad(4),
  /** IN: of iommu_unmap_element. */
  list: iommu_list,
  /** OUT: what to give to flush; 0 when nothing is pending. */
  ticket: u64,
})

/** One range of `unmap`: whole mappings. */
export const iommu_unmap_element = struct('iommu_unmap_element', {
  /** IN: first byte, a multiple of 4 KiB. */
  io_address: u64,
  /** IN: 4 KiB pages, at least 1. */
  pages: u64,
  /** OUT: 0 or a negative errno. */
  status: i32,
  /** OUT: pages that were mapped and are no more; 2^32 − 1 for that many or more. */
  done: u32,
})
