import { i16, i32, pad, struct, u16, u32, u64 } from '@iospace/wire'
import { IOMMU_FLAG, iommu_list } from './common.ts'

/** Flags of map_grant. */
export const MAP_GRANT_FLAGS = Object.freeze({ CONTINUE: IOMMU_FLAG.CONTINUE })

/** Flags of one element of map_grant; values as in MAP_ELEMENT_FLAGS. */
export const MAP_GRANT_ELEMENT_FLAGS = Object.freeze({ ANY: 1 << 0, WIDEN: 1 << 3 })

/**
 * Sub-op 10, `map_grant`: frames that other domains granted, into a space of the caller, 4 KiB each. Its owner, or the
 * control domain. Per element `status` is a GNTST and `error` an errno, both 0 on success; for the call: `EFAULT`,
 * `EINVAL`, `EPERM`, `ENOENT`.
 */
export const iommu_map_grant = struct('iommu_map_grant', {
  /** IN. */
  size: u32,
  /** IN: MAP_GRANT_FLAGS. */
  flags: u32,
  /** IN: whose space: the domain that the frames were granted to. */
  domid: u16,
  pad0: pad(2),
  /** IN. */
  space: u32,
  /** OUT: elements that took effect. */
  done: u32,
  pad1: pad(4),
  /** IN: of iommu_map_grant_element. */
  list: iommu_list,
})

/** One granted frame of `map_grant`. */
export const iommu_map_grant_element = struct('iommu_map_grant_element', {
  /** IN: a multiple of 4 KiB; OUT with ANY. */
  io_address: u64,
  /** IN: highest I/O byte allowed, with ANY; 0: end of the window. */
  limit: u64,
  /** IN: the granting domain. */
  domid: u16,
  /** IN: ACCESS bits; WRITE needs a grant that is not read-only. */
  access: u16,
  /** IN: grant reference. */
  ref: u32,
  /** IN: MAP_GRANT_ELEMENT_FLAGS. */
  flags: u32,
  /** OUT: what unmap_grant takes; valid in this space only. */
  handle: u32,
  /** OUT: GNTST. */
  status: i16,
  /** OUT: ACCESS bits that the hardware really grants. */
  granted: u16,
  /** OUT: 0 or a negative errno. */
  error: i32,
})
