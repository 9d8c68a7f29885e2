/** The unit's capability block in its PCI function: five words. Source: AMD 48882 “PCI Resources”; facts B.1. */

/** Capability id of secure devices; type 3 in 18:16 is an IOMMU. */
export const IOMMU_CAPABILITY = 0x0f
export const IOMMU_CAPABILITY_BYTES = 0x14

/** Header, upper half (from bit 16): type, revision 1, flags. */
export const CapabilityHeader = {
  type: 0x3,
  revision: 0x8,
  iotlb: 0x100,
  tunnel: 0x200,
  /** NpCache: not-present entries may be cached. */
  npCache: 0x400,
  /** EFRSup. */
  features: 0x800,
} as const

/** Offsets of the further words. */
export const CapabilityWord = { baseLow: 0x04, baseHigh: 0x08, range: 0x0c, misc: 0x10 } as const

/** Base low: 31:14 address, bit 0 enables the register block. */
export const BASE_ENABLE = 0x1

/** Misc: 4:0 MSI number, 7:5 guest address size, 14:8 physical and 21:15 virtual address size in bits. */
export const CapabilityMisc = { physicalShift: 8, virtualShift: 15 } as const

/** Ids and class of the function: AMD, IOMMU of family 17h; system peripheral, IOMMU. */
export const FUNCTION_IDS = { vendorId: 0x1022, deviceId: 0x1451, classCode: 0x08_0600 } as const
