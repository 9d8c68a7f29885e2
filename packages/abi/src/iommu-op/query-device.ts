import { pad, struct, u16, u32, u64 } from '@iospace/wire'

/** `query_device` knows no flags. */
export const QUERY_DEVICE_FLAGS = Object.freeze({})

/** What the hardware can keep apart: nothing, all behind one table, one bus, one function. */
export const GRANULARITY = Object.freeze({ NONE: 0, SHARED: 1, BUS: 2, FUNCTION: 3 })

/** Why a device shares its group, bits. */
export const GROUP_REASON = Object.freeze({
  SHARED_UNIT: 1 << 0,
  SAME_BUS: 1 << 1,
  BRIDGE_ALIAS: 1 << 2,
  MISSING_ACS: 1 << 3,
  PHANTOM_FUNCTION: 1 << 4,
})

/**
 * What a device is attached to: a space, nothing (every DMA faults), a scratch page, or nothing with its bus mastering
 * cleared.
 */
export const DEVICE_STATE = Object.freeze({ ATTACHED: 0, BLOCKED: 1, QUARANTINED: 2, FENCED: 3 })

/** Sub-op 1, `query_device`. Any domain about its devices, the control domain about any domain's. `ESRCH`, `ENODEV`. */
export const iommu_query_device = struct('iommu_query_device', {
  /** IN. */
  size: u32,
  /** IN: 0. */
  flags: u32,
  /** IN: whose device. */
  domid: u16,
  pad0: pad(2),
  /** IN: virtual sbdf. */
  device: u32,
  /** OUT: a number that the members of a group have in common; no meaning beyond equality. */
  group: u32,
  /** OUT: members of the group. */
  members: u32,
  /** OUT: members that the domain has. */
  own_members: u32,
  /** OUT: GRANULARITY. */
  granularity: u32,
  /** OUT: GROUP_REASON bits. */
  reasons: u32,
  /** OUT: the space it is attached to, or SPACE_NONE. */
  space: u32,
  /** OUT: DEVICE_STATE. */
  state: u32,
  /** OUT: HARDWARE_KIND of its unit. */
  hardware_kind: u32,
  /** OUT: ACCESS_KIND bits of its unit. */
  access_kinds: u32,
  /** OUT: width of its unit's I/O addresses, bits. */
  address_width: u32,
  /** OUT: page sizes of its unit, bit n: 2^n bytes. */
  page_sizes: u64,
})
