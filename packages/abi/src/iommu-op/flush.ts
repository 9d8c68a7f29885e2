import { pad, struct, u16, u32, u64 } from '@iospace/wire'
import { IOMMU_FLAG } from './common.ts'

/** Flags of flush; without any, up to the ticket. */
export const FLUSH_FLAGS = Object.freeze({
  /** Everything pending in the space. */
  ALL: IOMMU_FLAG.ALL,
  /** What is pending in a range of addresses. Not with ALL. */
  RANGE: 1 << 3,
})

/**
 * Sub-op 9, `flush`: completes pending invalidations; when it returns, no device reaches the frames. Idempotent. The
 * space's owner, or the control domain. `EINVAL` (a ticket never issued), `ENOENT`, `EOVERFLOW`, `EIO` (frames are
 * stuck until the device is reset).
 */
export const iommu_flush = struct('iommu_flush', {
  /** IN. */
  size: u32,
  /** IN: FLUSH_FLAGS. */
  flags: u32,
  /** IN: whose space. */
  domid: u16,
  pad0: pad(2),
  /** IN. */
  space: u32,
  /** IN: complete every ticket up to this one; 0 with a flag. */
  ticket: u64,
  /** IN: with RANGE, first byte; else 0. */
  io_address: u64,
  /** IN: with RANGE, 4 KiB pages; else 0. */
  pages: u64,
  /** OUT: highest ticket up to which everything is complete. */
  completed: u64,
})
