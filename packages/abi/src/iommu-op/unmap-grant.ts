import { i16, i32, pad, struct, u16, u32, u64 } from '@iospace/wire'
import { IOMMU_FLAG, iommu_list } from './common.ts'

/** Flags of unmap_grant. With NO_FLUSH the grant stays in use until the flush. */
export const UNMAP_GRANT_FLAGS = Object.freeze({ CONTINUE: IOMMU_FLAG.CONTINUE, NO_FLUSH: IOMMU_FLAG.NO_FLUSH })

/**
 * Sub-op 11, `unmap_grant`: ends mappings of map_grant, by handle. Strict unless NO_FLUSH. The space's owner, or the
 * control domain. Per element: `GNTST_bad_handle` with `ENOENT`, `EIO`. For the call: `EFAULT`, `EINVAL`, `EPERM`,
 * `ENOENT`.
 */
export const iommu_unmap_grant = struct('iommu_unmap_grant', {
  /** IN. */
  size: u32,
  /** IN: UNMAP_GRANT_FLAGS. */
  flags: u32,
  /** IN: whose space. */
  domid: u16,
  pad0: pad(2),
  /** IN. */
  space: u32,
  /** OUT: elements that took effect. */
  done: u32,
  pad1: pad(4),
  /** IN: of iommu_unmap_grant_element. */
  list: iommu_list,
  /** OUT: what to give to flush; 0 when nothing is pending. */
  ticket: u64,
})

/** One handle of `unmap_grant`. */
export const iommu_unmap_grant_element = struct('iommu_unmap_grant_element', {
  /** IN. */
  handle: u32,
  /** OUT: GNTST. */
  status: i16,
  pad0: pad(2),
  /** OUT: 0 or a negative errno. */
  error: i32,
  pad1: pad(4),
})
