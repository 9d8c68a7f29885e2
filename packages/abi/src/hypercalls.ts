/**
 * Hypercall numbers. Those with a Xen name are Xen's (xen/include/public/xen.h). `iommu_op` is ours: 43 is free
 * upstream and provisional; sub-op 0 (`query`) answers a magic so that a caller knows whose it is.
 */
export const HYPERCALL = Object.freeze({
  mmu_update: 1,
  memory_op: 12,
  multicall: 13,
  xen_version: 17,
  console_io: 18,
  grant_table_op: 20,
  vcpu_op: 24,
  mmuext_op: 26,
  sched_op: 29,
  event_channel_op: 32,
  physdev_op: 33,
  hvm_op: 34,
  sysctl: 35,
  domctl: 36,
  iommu_op: 43,
})

/** The name of a hypercall. */
export type HypercallName = keyof typeof HYPERCALL

/** Bytes of a page, and of a frame. */
export const PAGE_SIZE = 4096
/** log2 of PAGE_SIZE. */
export const PAGE_SHIFT = 12
