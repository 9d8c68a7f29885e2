import { pad, struct, u32, u64 } from '@iospace/wire'

/**
 * `assign_device`, `deassign_device`, `test_assign_device` of a PCI function (dev = `XEN_DOMCTL_DEV.PCI`): all IN.
 * machine_sbdf lies in a union whose other member, device-tree paths, is not modelled. `EINVAL` self or unknown flags,
 * `ENODEV` unknown or not PCI, `EBUSY` another guest has it, `EXDEV` the group has another owner.
 */
export const xen_domctl_assign_device = struct('xen_domctl_assign_device', {
  dev: u32,
  flags: u32,
  machine_sbdf: u32,
  pad0: pad(12),
})

/** `get_device_group`: sdev_array is a guest pointer to max_sdevs u32 sbdfs, OUT; num_sdevs OUT. */
export const xen_domctl_get_device_group = struct('xen_domctl_get_device_group', {
  machine_sbdf: u32,
  max_sdevs: u32,
  num_sdevs: u32,
  pad0: pad(4),
  sdev_array: u64,
})
