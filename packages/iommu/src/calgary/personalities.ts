/**
 * What a Calgary model can be. Only Linux's driver is public (facts C.1): that a cache of TCEs exists is known, its shape and every latency
 * are models.
 */
import type { CacheShape } from '../cache/translation-bank.ts'
import { CALGARY_DEVICE, CALIOC2_DEVICE } from './spec/pci.ts'
import { CALGARY_LEGACY, CALIOC2_LEGACY } from './spec/windows.ts'

export interface CalgaryPersonality {
  readonly name: string
  /** Of its host bridges; their vendor is IBM. */
  readonly deviceId: number
  /** Addresses from here to 1 MiB are not translated. */
  readonly legacyFirst: number
  /** CalIOC2's registers: page migration control and debug, error registers. */
  readonly migration: boolean
  /** A TAR without its bit 3 makes every request fault. No known software sets it, so no named personality looks at it. */
  readonly needsValid: boolean
  /** TCEs that each bridge keeps. */
  readonly cache: CacheShape
  readonly timing: CalgaryTiming
}

/** Virtual ns. */
export interface CalgaryTiming {
  /** How long a register write may be on its way; a read of any register waits for it. */
  readonly registerWrite: number
  /** How long a posted write of a device may be: some reads of registers, so that a procedure that does not wait for it is seen to be wrong. */
  readonly postedWrite: number
  /** How long devices wait for the bus while arbitration is stopped. */
  readonly patience: number
}

function personality(
  chip: Pick<CalgaryPersonality, 'name' | 'deviceId' | 'legacyFirst' | 'migration'>,
): CalgaryPersonality {
  return Object.freeze({
    ...chip,
    needsValid: false,
    cache: Object.freeze({ sets: 64, ways: 4, replacement: 'lru' as const }),
    timing: Object.freeze({ registerWrite: 200, postedWrite: 4000, patience: 1e6 }),
  })
}

export const calgaryPersonalities = Object.freeze({
  /** The PCI-X host bridge of x366, x460 and x3950: arbitration is stopped by AER. */
  calgary: personality({
    name: 'calgary',
    deviceId: CALGARY_DEVICE,
    legacyFirst: CALGARY_LEGACY,
    migration: false,
  }),
  /** The PCI Express host bridge of x3950 M2: stopped by page migration control, nothing below 1 MiB is translated. */
  calioc2: personality({
    name: 'calioc2',
    deviceId: CALIOC2_DEVICE,
    legacyFirst: CALIOC2_LEGACY,
    migration: true,
  }),
}) satisfies Record<string, CalgaryPersonality>

export type CalgaryPersonalityName = keyof typeof calgaryPersonalities

/** The personality of a machine that names none: the chip that the first drivers were written for. */
export const DEFAULT_CALGARY: CalgaryPersonalityName = 'calgary'
