/**
 * PCI ids of iospace's own devices. The vendor id is not assigned to anyone in the public list of ids, so no driver of a real
 * device binds to ours by accident; standard devices are bound by their class code.
 */
export const IOSPACE_VENDOR = 0xf0f0
export const NVME_DEVICE = 0x0010
export const ROGUE_DEVICE = 0x0bad
/** QEMU's educational device. */
export const EDU_VENDOR = 0x1234
export const EDU_DEVICE = 0x11e8
