import { pad, struct, u16, u32 } from '@iospace/wire'

/** `set_default` knows no flags. */
export const SET_DEFAULT_FLAGS = Object.freeze({})

/**
 * Sub-op 22, `set_default`: makes the default space empty instead of a mirror. The domain itself, once, before any
 * mapping; irrevocable. `EINVAL` (kind is not `DEFAULT_KIND.EMPTY`), `EBUSY` (already empty, or something is mapped),
 * `EIO`.
 */
export const iommu_set_default = struct('iommu_set_default', {
  /** IN. */
  size: u32,
  /** IN: 0. */
  flags: u32,
  /** IN: the caller. */
  domid: u16,
  pad0: pad(2),
  /** IN: DEFAULT_KIND.EMPTY. */
  kind: u32,
})
