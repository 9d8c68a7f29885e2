/** Sub-operations of `physdev_op`. Source: xen/include/public/physdev.h; `pci_device_reset` is newer than 4.17. */
export const PHYSDEVOP = Object.freeze({
  irq_status_query: 5,
  set_iopl: 6,
  eoi: 12,
  map_pirq: 13,
  unmap_pirq: 14,
  manage_pci_add: 15,
  manage_pci_remove: 16,
  restore_msi: 19,
  manage_pci_add_ext: 20,
  setup_gsi: 21,
  get_free_pirq: 23,
  pci_mmcfg_reserved: 24,
  pci_device_add: 25,
  pci_device_remove: 26,
  restore_msi_ext: 27,
  prepare_msix: 30,
  release_msix: 31,
  pci_device_reset: 32,
})

/** What map_pirq maps. */
export const MAP_PIRQ_TYPE = Object.freeze({ MSI: 0, GSI: 1, UNKNOWN: 2, MSI_SEG: 3, MULTI_MSI: 4 })

/** Flags of pci_device_add. */
export const XEN_PCI_DEV = Object.freeze({ EXTFN: 1, VIRTFN: 2, PXM: 4 })

/** How pci_device_reset resets; bits 1–0 of its flags. */
export const PCI_DEVICE_RESET = Object.freeze({ COLD: 0, WARM: 1, HOT: 2, FLR: 3, MASK: 3 })
