import { pad, struct, u16, u32 } from '@iospace/wire'

/** Flags of destroy_space. */
export const DESTROY_SPACE_FLAGS = Object.freeze({
  /** Detach its devices and end its grant mappings first. */
  DETACH: 1 << 0,
})

/**
 * Sub-op 4, `destroy_space`: block, invalidate, drop references, free tables. Its owner, or the control domain.
 * `ENOENT`, `EPERM` (space 0), `EBUSY` (devices or live grant handles, without DETACH), `EIO`.
 */
export const iommu_destroy_space = struct('iommu_destroy_space', {
  /** IN. */
  size: u32,
  /** IN: DESTROY_SPACE_FLAGS. */
  flags: u32,
  /** IN: whose space. */
  domid: u16,
  pad0: pad(2),
  /** IN. */
  space: u32,
})
