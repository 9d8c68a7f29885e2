import { pad, struct, u16, u32, u64 } from '@iospace/wire'

/** Flags of set_limits: which fields are to be set; the others are 0. */
export const SET_LIMITS_FLAGS = Object.freeze({
  SPACES: 1 << 0,
  PINNED: 1 << 1,
  TABLE_PAGES: 1 << 2,
  DEFERRED_ENTRIES: 1 << 3,
  DEFERRED_AGE: 1 << 4,
  /** Before the domain's first mapping or assignment only (`EBUSY`). */
  DEFAULT_KIND: 1 << 5,
  PERMISSIONS: 1 << 6,
})

/** What the control domain knowingly allows for a domain. */
export const LIMIT_PERMISSION = Object.freeze({
  /** Devices where the group is the whole machine. */
  UNSAFE_PASSTHROUGH: 1 << 0,
  /** Devices without interrupt isolation. */
  UNSAFE_INTERRUPTS: 1 << 1,
  /** A disjoint window of a table that other domains use. */
  SHARED_TABLE: 1 << 2,
})

/**
 * Sub-op 20, `set_limits`: what a domain may use. A limit below present use stops growth and takes nothing away. The
 * control domain. `ESRCH`, `EINVAL`, `EBUSY`, `EOPNOTSUPP`.
 */
export const iommu_set_limits = struct('iommu_set_limits', {
  /** IN. */
  size: u32,
  /** IN: SET_LIMITS_FLAGS. */
  flags: u32,
  /** IN: the limited domain. */
  domid: u16,
  pad0: pad(2),
  /** IN: spaces besides the default one. */
  max_spaces: u32,
  /** IN: pinned frames. */
  max_pinned: u64,
  /** IN: table pages. */
  max_table_pages: u64,
  /** IN: deferred entries; 0: always strict. */
  max_deferred: u32,
  /** IN: DEFAULT_KIND. */
  default_kind: u32,
  /** IN: ns. */
  max_deferred_age: u64,
  /** IN: LIMIT_PERMISSION bits. */
  permissions: u32,
  pad1: pad(4),
})
