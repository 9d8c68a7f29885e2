/**
 * What a GART can be. All have the same registers and entries. Cache shapes and latencies are models: AMD publishes neither.
 */
import type { CacheShape } from '../cache/translation-bank.ts'
import { NorthbridgeId } from './spec/northbridge.ts'

export interface GartPersonality {
  readonly name: string
  /** PCI device id of function 3. */
  readonly deviceId: number
  /** Erratum 156: a read of a page whose entry is not valid is sent to the page that the entry names all the same (AMD 25759). */
  readonly erratum156: boolean
  readonly tlb: CacheShape
  readonly timing: GartTiming
}

/** Virtual ns. */
export interface GartTiming {
  /** From the write of InvGart until the TLB is empty. */
  readonly invalidation: number
  /** How long a posted write may stay on its way; InvGart reads 1 for as long after the TLB was emptied. */
  readonly postedWrite: number
}

const COMMON: Pick<GartPersonality, 'tlb' | 'timing'> = {
  tlb: { sets: 16, ways: 4 },
  timing: { invalidation: 200, postedWrite: 600 },
}

export const gartPersonalities = {
  /** Opteron and Athlon 64, family 0Fh, as the manual describes it. */
  k8: { name: 'k8', deviceId: NorthbridgeId.k8, erratum156: false, ...COMMON },
  /** The same as it was sold: the erratum was never fixed in this family. */
  'k8-e156': { name: 'k8-e156', deviceId: NorthbridgeId.k8, erratum156: true, ...COMMON },
  /** Family 10h: another device id, and a larger TLB. */
  family10h: {
    name: 'family10h',
    deviceId: NorthbridgeId.family10h,
    erratum156: false,
    ...COMMON,
    tlb: { sets: 32, ways: 4, replacement: 'fifo' },
  },
} as const satisfies Record<string, GartPersonality>

export type GartPersonalityName = keyof typeof gartPersonalities

/** The personality of a machine that names none. */
export const DEFAULT_GART: GartPersonalityName = 'k8'
