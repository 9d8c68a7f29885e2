import { pad, struct, u16, u32, u8 } from '@iospace/wire'

/**
 * A PCI function by machine address: the argument of `pci_device_remove`, `prepare_msix`, `release_msix`,
 * `restore_msi_ext`. Aligned to 2.
 */
export const physdev_pci_device = struct('physdev_pci_device', { seg: u16, bus: u8, devfn: u8 })

/** Bus and devfn inside a segment. */
export const physdev_bus_devfn = struct('physdev_bus_devfn', { bus: u8, devfn: u8 })

/** `pci_device_add`: all IN; physfn is read with VIRTFN. u32 options follow in memory with PXM. Control domain. */
export const physdev_pci_device_add = struct('physdev_pci_device_add', {
  seg: u16,
  bus: u8,
  devfn: u8,
  flags: u32,
  physfn: physdev_bus_devfn,
  pad0: pad(2),
})

/** `manage_pci_add` and `manage_pci_remove`: segment 0 only. All IN. */
export const physdev_manage_pci = struct('physdev_manage_pci', { bus: u8, devfn: u8 })

/**
 * `pci_device_reset`: the control domain tells that it has reset a function (flags: how). All IN. Newer than Xen 4.17.
 */
export const pci_device_reset = struct('pci_device_reset', { dev: physdev_pci_device, flags: u32 })
