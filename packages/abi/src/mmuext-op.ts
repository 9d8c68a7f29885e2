import { pad, struct, u32, u64 } from '@iospace/wire'

/**
 * Operations of `mmuext_op(array, count, guest pointer to u32 done, foreigndom)` that are here: taking frames into use
 * as page tables of a PV domain, and ending that. Source: xen/include/public/xen.h.
 */
export const MMUEXT = Object.freeze({
  PIN_L1_TABLE: 0,
  PIN_L2_TABLE: 1,
  PIN_L3_TABLE: 2,
  PIN_L4_TABLE: 3,
  UNPIN_TABLE: 4,
})

/** One operation: all IN. `EINVAL` when the frame is not the domain's, or something uses it as another type. */
export const mmuext_op = struct('mmuext_op', {
  cmd: u32,
  pad0: pad(4),
  /** Machine frame, for pin and unpin. */
  arg1: u64,
  arg2: u64,
})
