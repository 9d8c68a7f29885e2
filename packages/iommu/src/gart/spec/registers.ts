/**
 * The GART registers of a K8 northbridge: function 3 of each node, 32 bits each, in PCI configuration space. Source: facts D (Linux
 * asm/gart.h), with which OpenBSD's amdgart agrees; AMD 26094 (BKDG for family 0Fh), function 3.
 */
export const Register = {
  /** MCA northbridge control, status and address: what a failed table walk is reported by. The last two are 64 bits, low half first. */
  machineCheckControl: 0x40,
  machineCheckStatus: 0x48,
  machineCheckAddress: 0x50,
  apertureControl: 0x90,
  apertureBase: 0x94,
  tableBase: 0x98,
  cacheControl: 0x9c,
} as const

/** F3x90, the aperture control register. */
export const ApertureControl = {
  /** GartEn. */
  enable: 0x1,
  /** 3:1 GartSize: 32 MiB << order. */
  orderShift: 1,
  orderMask: 0x7,
  /** DisGartCpu, DisGartIo: accesses of CPUs, of devices are not translated. */
  disableCpu: 0x10,
  disableIo: 0x20,
  /** DisGartTblWlkPrb: table walks do not look into CPU caches, so the table must be uncacheable. Clear: walks are coherent. */
  disableWalkProbe: 0x40,
  /** The bits that exist. */
  writable: 0x7f,
} as const

/** Largest order: 2 GiB. Order 7 is reserved. */
export const MAX_ORDER = 6

/** F3x94, the aperture base register: 14:0 = physical address 39:25. */
export const APERTURE_BASE_WRITABLE = 0x7fff
export const APERTURE_BASE_SHIFT = 25

/** F3x98, the table base register: 31:4 = physical address 39:12. */
export const TABLE_BASE_WRITABLE = 0xffff_fff0 | 0
export const TABLE_BASE_SHIFT = 4

/** F3x9C, the cache control register. */
export const CacheControl = {
  /** InvGart: written 1, reads 1 until the translations are forgotten. Writing 0 does nothing. */
  invalidate: 0x1,
  /** GartPteErr: a table walk failed. Sticky; written 1 to clear. */
  walkFailed: 0x2,
} as const

/** F3x40 bit 10, GartTblWkEn: a failed table walk raises a machine check. Reset 0; Linux keeps it so. */
export const MACHINE_CHECK_WALK = 0x400

/** F3x48 (low) and F3x4C (high) after a failed table walk, as MC4_STATUS has it. */
export const MachineCheckStatus = {
  /** 20:16 extended code 5: invalid PTE in a table walk; 15:0 TLB error, generic transaction, generic level. */
  walk: 0x0005_001b,
  /** High half: 63 valid, 61 uncorrected, 58 address valid. */
  valid: 0x8000_0000 | 0,
  uncorrected: 0x2000_0000,
  addressValid: 0x0400_0000,
  /** 62: another error came before software cleared the first, whose record stays. 60: reporting was enabled. */
  overflow: 0x4000_0000,
  reported: 0x1000_0000,
} as const

// What is exported is looked up each time it is used; these the compiler folds.
const { orderShift: ORDER_SHIFT, orderMask: ORDER_MASK } = ApertureControl
const LARGEST = MAX_ORDER
const BASE_BITS = APERTURE_BASE_WRITABLE
const BASE_SHIFT = APERTURE_BASE_SHIFT - 12
const TABLE_SHIFT = TABLE_BASE_SHIFT

/** Pages of the aperture that `control` (F3x90) gives the size of; 0 for the reserved order. */
export function aperturePages(control: number): number {
  const order = (control >>> ORDER_SHIFT) & ORDER_MASK
  return order > LARGEST ? 0 : 1 << (BASE_SHIFT + order)
}

/** First page (address 39:12) of the aperture. Base bits below the size are not compared: an aperture is naturally aligned. */
export function apertureFirstPage(control: number, base: number): number {
  return ((base & BASE_BITS) << BASE_SHIFT) & -aperturePages(control)
}

/** First frame of the table that `base` (F3x98) names. */
export function tableFrame(base: number): number {
  return base >>> TABLE_SHIFT
}
