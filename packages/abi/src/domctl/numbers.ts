/**
 * Sub-operations of `domctl`; the number is in the struct. Control domain only. Source: xen/include/public/domctl.h.
 */
export const XEN_DOMCTL = Object.freeze({
  createdomain: 1,
  destroydomain: 2,
  pausedomain: 3,
  unpausedomain: 4,
  getdomaininfo: 5,
  max_mem: 11,
  max_vcpus: 15,
  irq_permission: 19,
  iomem_permission: 20,
  ioport_permission: 21,
  assign_device: 37,
  bind_pt_irq: 38,
  memory_mapping: 39,
  test_assign_device: 45,
  set_target: 46,
  deassign_device: 47,
  unbind_pt_irq: 48,
  get_device_group: 50,
})

/** interface_version of Xen 4.17; another one is `EACCES`. */
export const XEN_DOMCTL_INTERFACE_VERSION = 0x15

/** Flags of createdomain. */
export const XEN_DOMCTL_CDF = Object.freeze({
  hvm: 1,
  hap: 2,
  s3_integrity: 4,
  oos_off: 8,
  xs_domain: 16,
  iommu: 32,
  nested_virt: 64,
  vpmu: 128,
})

/** What assign_device assigns, and its flag. */
export const XEN_DOMCTL_DEV = Object.freeze({ PCI: 0, DT: 1 })
/** Flag of assign_device: reserved ranges of the device may overlap the domain's memory. */
export const XEN_DOMCTL_DEV_RDM_RELAXED = 1

/** Flags of getdomaininfo. */
export const XEN_DOMINF = Object.freeze({
  dying: 1,
  hvm_guest: 2,
  shutdown: 4,
  paused: 8,
  blocked: 16,
  running: 32,
  debugged: 64,
  xs_domain: 128,
  hap: 256,
  /** Bits 23–16: why it shut down. */
  shutdownshift: 16,
  shutdownmask: 255,
})
