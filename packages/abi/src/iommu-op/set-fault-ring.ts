import { pad, struct, u16, u32, u64 } from '@iospace/wire'
import { iommu_list } from './common.ts'

/** `set_fault_ring` knows no flags. */
export const SET_FAULT_RING_FLAGS = Object.freeze({})

/**
 * Sub-op 14, `set_fault_ring`: where a domain wants its faults. The domain itself. gfns: a list of u64 frame numbers
 * (stride 8 or more), a power of two of them; count 0 takes the ring away. The frames are held with a writable type.
 * Then bind `VIRQ.IOMMU_FAULT`. `EINVAL` (not a power of two, a frame named twice), `ENXIO`, `EACCES`, `ENOBUFS`.
 */
export const iommu_set_fault_ring = struct('iommu_set_fault_ring', {
  /** IN. */
  size: u32,
  /** IN: 0. */
  flags: u32,
  /** IN: the caller. */
  domid: u16,
  pad0: pad(6),
  /** IN: frame of the control page; 0 with count 0. */
  control_gfn: u64,
  /** IN: of u64 frame numbers of the record pages, in order. */
  gfns: iommu_list,
})
