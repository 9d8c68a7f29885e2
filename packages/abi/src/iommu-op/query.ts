import { pad, struct, u16, u32, u64 } from '@iospace/wire'

/** `query` knows no flags. */
export const QUERY_FLAGS = Object.freeze({})

/** Bits of `features` (its low word). A bit is set only if what it says holds for every device of the domain. */
export const IOMMU_FEATURE = Object.freeze({
  /** A device cannot forge another's interrupt. */
  INTERRUPTS_ISOLATED: 1 << 0,
  /** attach_device can move a device between spaces without a moment in which it faults. */
  HITLESS_ATTACH: 1 << 1,
  /** Hardware records exactly which pages devices wrote. */
  DIRTY_EXACT: 1 << 2,
  /** A device without a space faults, instead of having its bus mastering cleared. */
  BLOCKING: 1 << 3,
  /** Faults are reported with the requester and address. */
  FAULT_REPORTS: 1 << 4,
  /** NO_FLUSH and deferred spaces are allowed by the control domain's limits. */
  DEFERRED: 1 << 5,
  /** Several domains share one table with disjoint windows: addressable is not protected. */
  SHARED_TABLE: 1 << 6,
})

/**
 * Sub-op 0, `query`: what there is and how much of it is used. Any domain about itself, the control domain about any.
 * Never fails for want of an IOMMU: hardware_kind is 0 then. `ESRCH`.
 */
export const iommu_query = struct('iommu_query', {
  /** IN. */
  size: u32,
  /** IN: 0. */
  flags: u32,
  /** IN: whose limits and usage. */
  domid: u16,
  pad0: pad(2),
  /** OUT: IOMMU_MAGIC. */
  magic: u32,
  /** OUT: IOMMU_ABI_VERSION. */
  version: u32,
  /** OUT: HARDWARE_KIND. */
  hardware_kind: u32,
  /** OUT: IOMMU_FEATURE bits. */
  features: u64,
  /** OUT: bit n set: some unit has pages of 2^n bytes. */
  page_sizes: u64,
  /** OUT: widest I/O address, bits. */
  address_width: u32,
  /** OUT: ACCESS_KIND bits, the union over all units. */
  access_kinds: u32,
  /** OUT: most elements of one list. */
  max_batch: u32,
  /** OUT: most elements of one list with ALL_OR_NOTHING. */
  max_atomic: u32,
  /** OUT: DEFAULT_KIND of space 0. */
  default_kind: u32,
  /** OUT: most spaces besides the default one. */
  max_spaces: u32,
  /** OUT: spaces in use. */
  spaces: u32,
  /** OUT: most deferred invalidation entries; 0: always strict. */
  max_deferred: u32,
  /** OUT: most pinned frames, charged 4 KiB each per mapping. */
  max_pinned: u64,
  /** OUT: pinned frames. */
  pinned: u64,
  /** OUT: most table pages. */
  max_table_pages: u64,
  /** OUT: table pages in use, reserves included. */
  table_pages: u64,
  /** OUT: oldest a deferred entry may get, ns. */
  max_deferred_age: u64,
  /** OUT: deferred entries now. */
  deferred: u32,
  pad1: pad(4),
  /** OUT: frames held by pending invalidations. */
  pending: u64,
  /** OUT: frames whose invalidation failed; held until the device is reset. */
  stuck: u64,
})
