import { amdviUnit } from './amdvi.ts'
import { calgaryUnit } from './calgary.ts'
import { gartUnit } from './gart.ts'
import type { WalkUnit } from './unit.ts'
import { vtdUnit } from './vtd.ts'

/** By the word that files have. */
export const WALK_UNITS = {
  vtd: vtdUnit,
  amdvi: amdviUnit,
  calgary: calgaryUnit,
  gart: gartUnit,
} as const satisfies Record<string, WalkUnit>
