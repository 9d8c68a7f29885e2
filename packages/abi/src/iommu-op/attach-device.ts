import { pad, struct, u16, u32 } from '@iospace/wire'

/** Flags of attach_device. */
export const ATTACH_DEVICE_FLAGS = Object.freeze({
  /** No request may fault on the way. `EOPNOTSUPP` where this pair of spaces or the hardware cannot. */
  HITLESS: 1 << 0,
  /** Move the group's other members of the domain too. */
  WHOLE_GROUP: 1 << 1,
})

/**
 * Sub-op 5, `attach_device`: each request is translated wholly by the old space or wholly by the new one (or blocked,
 * without HITLESS). The owner of both, or the control domain. `ENODEV`, `ENOENT`, `ERANGE` (width or page sizes do not
 * fit), `EADDRNOTAVAIL` (a reserved range of the device is mapped), `EBUSY` (a group member is elsewhere, without
 * WHOLE_GROUP), `ENOMEM`, `EIO`.
 */
export const iommu_attach_device = struct('iommu_attach_device', {
  /** IN. */
  size: u32,
  /** IN: ATTACH_DEVICE_FLAGS. */
  flags: u32,
  /** IN: whose device and space. */
  domid: u16,
  pad0: pad(2),
  /** IN: the space to attach to. */
  space: u32,
  /** IN: virtual sbdf. */
  device: u32,
  /** OUT: functions that were moved. */
  members: u32,
})
