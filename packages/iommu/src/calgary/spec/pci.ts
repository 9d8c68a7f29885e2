/** What a chip shows on each of its buses: device 0 is the host bridge. Source: Linux pci-calgary_64.c; facts C.1. */
export const IBM_VENDOR = 0x1014
export const CALGARY_DEVICE = 0x02a1
export const CALIOC2_DEVICE = 0x0308

/** Host bridges (PHBs) of one chip. Each has its own bus range, table and cache. */
export const BRIDGES_PER_CHIP = 4
