import { pad, struct, u16, u32 } from '@iospace/wire'

/** `name_device` knows no flags. */
export const NAME_DEVICE_FLAGS = Object.freeze({})

/**
 * Sub-op 21, `name_device`: the virtual sbdf by which a domain knows an assigned device; equal to the machine's until
 * named. The control domain, after assign. `ESRCH`, `ENODEV` (not assigned to domid), `EEXIST` (another device has the
 * name).
 */
export const iommu_name_device = struct('iommu_name_device', {
  /** IN. */
  size: u32,
  /** IN: 0. */
  flags: u32,
  /** IN: the domain that has the device. */
  domid: u16,
  pad0: pad(2),
  /** IN: machine sbdf. */
  machine_device: u32,
  /** IN: virtual sbdf. */
  device: u32,
  pad1: pad(4),
})
