/** EFR and EFR2: what a unit says about itself, as 32-bit halves, and decoded. Source: facts B.2; Linux amd_iommu_types.h. */

/** EFR bits of the lower half. */
export const Feature = {
  /** PreFSup: PREFETCH_IOMMU_PAGES. */
  prefetch: 0x1,
  pageRequests: 0x2,
  x2apic: 0x4,
  noExecute: 0x8,
  guestTranslation: 0x10,
  /** IASup: INVALIDATE_IOMMU_ALL. */
  invalidateAll: 0x40,
  /** GASup: 128-bit interrupt table entries. */
  guestApic: 0x80,
  hardwareError: 0x100,
  performanceCounters: 0x200,
  /** 11:10 HATS: 0 = up to 4 levels, 1 = 5, 2 = 6. */
  levelsShift: 10,
  levelsMask: 0x3,
} as const

/** EFR bits of the upper half. */
export const FeatureHigh = {
  /** MsiCapMmioSup: the MSI registers by MMIO. */
  messageRegisters: 0x4000,
  /** HASup, HDSup: the unit sets accessed and dirty bits in host tables. */
  hostAccessed: 0x2_0000,
  hostDirty: 0x10_0000,
} as const

/** EFR2, lower half: 9:8 NumIntRemapSup, 1 = 2048 interrupts per function. */
export const Feature2 = { interruptsShift: 8, interruptsMask: 0x3, interrupts2K: 0x1 } as const

/** The raw registers of a unit. */
export interface AmdviRegisters {
  readonly featuresHigh: number
  readonly featuresLow: number
  readonly features2: number
}

/** The features that model and driver act upon. */
export interface AmdviFeatures {
  /** Most levels of a table. */
  readonly levels: number
  readonly prefetch: boolean
  readonly invalidateAll: boolean
  readonly guestApic: boolean
  readonly messageRegisters: boolean
  readonly hostAccessed: boolean
  readonly hostDirty: boolean
  readonly interrupts2K: boolean
}

/** Decodes EFR and EFR2. */
export function decodeFeatures({ featuresHigh, featuresLow, features2 }: AmdviRegisters): AmdviFeatures {
  const low = (mask: number) => (featuresLow & mask) !== 0
  const high = (mask: number) => (featuresHigh & mask) !== 0
  return {
    levels: 4 + ((featuresLow >>> Feature.levelsShift) & Feature.levelsMask),
    prefetch: low(Feature.prefetch),
    invalidateAll: low(Feature.invalidateAll),
    guestApic: low(Feature.guestApic),
    messageRegisters: high(FeatureHigh.messageRegisters),
    hostAccessed: high(FeatureHigh.hostAccessed),
    hostDirty: high(FeatureHigh.hostDirty),
    interrupts2K: ((features2 >>> Feature2.interruptsShift) & Feature2.interruptsMask) === Feature2.interrupts2K,
  }
}
