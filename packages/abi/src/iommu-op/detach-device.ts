import { pad, struct, u16, u32 } from '@iospace/wire'

/** Flags of detach_device. */
export const DETACH_DEVICE_FLAGS = Object.freeze({
  /** Detach the group's other members of the domain too. */
  WHOLE_GROUP: 1 << 1,
})

/**
 * Sub-op 6, `detach_device`: to blocked, never to identity; fenced on hardware that cannot block. The owner, or the
 * control domain. `ENODEV`, `ENOENT` (not attached), `EBUSY` (a group member is attached, without WHOLE_GROUP), `EIO`.
 */
export const iommu_detach_device = struct('iommu_detach_device', {
  /** IN. */
  size: u32,
  /** IN: DETACH_DEVICE_FLAGS. */
  flags: u32,
  /** IN: whose device. */
  domid: u16,
  pad0: pad(2),
  /** IN: virtual sbdf. */
  device: u32,
  /** OUT: DEVICE_STATE that it is in now. */
  state: u32,
  /** OUT: functions that were detached. */
  members: u32,
})
