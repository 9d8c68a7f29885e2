/**
 * What an AMD-Vi model can be: feature registers (facts B.2), and the widths and cache shapes that no register tells. Cache shapes
 * and latencies are models: neither AMD nor QEMU publishes them.
 */
import type { CacheShape } from '../cache/translation-bank.ts'
import { decodeFeatures, Feature, FeatureHigh, type AmdviFeatures, type AmdviRegisters } from './spec/features.ts'

export interface AmdviPersonality extends AmdviRegisters {
  readonly name: string
  readonly features: AmdviFeatures
  /** PAsize and VAsize of the PCI capability: bits of machine addresses and of addresses that devices send. */
  readonly physicalBits: number
  readonly virtualBits: number
  /** NpCache of the PCI capability: software must invalidate new mappings too. */
  readonly npCache: boolean
  /** Whether absent entries really are cached; only with {@link npCache}. */
  readonly cachesAbsent: boolean
  /** Translations by page size: a page of another size is cached in pieces of the next smaller one, of 4 KiB where the others have no ways. */
  readonly iotlb: CacheShape
  readonly iotlb2M: CacheShape
  readonly iotlb1G: CacheShape
  /** Entries that lead to leaf tables. */
  readonly directories: CacheShape
  /** Device table entries, for DMA and for interrupts. */
  readonly devices: CacheShape
  /** Interrupt table entries. */
  readonly interrupts: CacheShape
  readonly timing: AmdviTiming
}

/** Virtual ns. */
export interface AmdviTiming {
  /** From a tail write to the end of the first command, and for each further one. */
  readonly queue: number
  readonly command: number
  /** How long a posted write may stay on its way. */
  readonly postedWrite: number
}

/** What every personality has: INVALIDATE_IOMMU_ALL, prefetch as a hint, 128-bit interrupt entries. */
const COMMON = Feature.prefetch | Feature.invalidateAll | Feature.guestApic

type Silicon = AmdviRegisters &
  Pick<AmdviPersonality, 'name' | 'physicalBits' | 'virtualBits'> &
  Partial<AmdviPersonality>

function personality(silicon: Silicon): AmdviPersonality {
  return {
    npCache: false,
    cachesAbsent: false,
    iotlb: { sets: 2048, ways: 2 },
    iotlb2M: { sets: 64, ways: 4 },
    iotlb1G: { sets: 16, ways: 1 },
    directories: { sets: 64, ways: 4 },
    devices: { sets: 64, ways: 4 },
    interrupts: { sets: 16, ways: 4 },
    timing: { queue: 160, command: 10, postedWrite: 1000 },
    ...silicon,
    features: decodeFeatures(silicon),
  }
}

export const amdviPersonalities = {
  /**
   * QEMU's amd-iommu: EFR 0x29D3 without PPRSup, GTSup, HESup and GATS, which this model does not have. It says NpCache, and yet
   * caches nothing absent.
   */
  qemu: personality({
    name: 'qemu',
    featuresHigh: 0,
    featuresLow: COMMON | (2 << Feature.levelsShift),
    features2: 0,
    physicalBits: 40,
    virtualBits: 48,
    npCache: true,
  }),
  /** A unit with tables of up to 4 levels, as vendors' hypervisors offer to guests. */
  hats4: personality({
    name: 'hats4',
    featuresHigh: FeatureHigh.messageRegisters,
    featuresLow: COMMON,
    features2: 0,
    physicalBits: 48,
    virtualBits: 48,
  }),
  /** Up to 5 levels, with accessed bits. */
  hats5: personality({
    name: 'hats5',
    featuresHigh: FeatureHigh.messageRegisters | FeatureHigh.hostAccessed,
    featuresLow: COMMON | (1 << Feature.levelsShift),
    features2: 0,
    physicalBits: 52,
    virtualBits: 57,
  }),
  /**
   * Up to 6 levels, as Zen processors have (their EFR reads 0x…94ADA with HATS 2; IVinfo 0x00203041: 48 and 64 address bits), with
   * accessed and dirty bits and 2048 interrupts per function.
   */
  hats6: personality({
    name: 'hats6',
    featuresHigh: FeatureHigh.messageRegisters | FeatureHigh.hostAccessed | FeatureHigh.hostDirty,
    featuresLow: COMMON | (2 << Feature.levelsShift),
    features2: 0x100,
    physicalBits: 48,
    virtualBits: 64,
  }),
} as const satisfies Record<string, AmdviPersonality>

export type AmdviPersonalityName = keyof typeof amdviPersonalities

/** The personality of a machine that names none: what current silicon has. */
export const DEFAULT_AMDVI: AmdviPersonalityName = 'hats6'
