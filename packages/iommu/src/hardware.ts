/** The IOMMUs as hardware, and the table of all of them. */
export {
  iommuModels,
  GART_APERTURE,
  installAmdvi,
  installCalgary,
  installGart,
  installVtd,
  type GartBoardOptions,
  type IommuModel,
  type IommuUnit,
  type TablePages,
} from './models.ts'
export type { StaleHit, StaleHitHandler } from './stale-hit.ts'
export { VTD_BASE, VtdHardware, type VtdHardwareOptions } from './vtd/hardware.ts'
export {
  DEFAULT_VTD,
  vtdPersonalities,
  type VtdPersonality,
  type VtdPersonalityName,
  type VtdTiming,
} from './vtd/personalities.ts'
export { TranslationBank, type CacheShape } from './cache/translation-bank.ts'
export { AMDVI_BASE, AmdviHardware, type AmdviHardwareOptions } from './amdvi/hardware.ts'
export {
  amdviPersonalities,
  DEFAULT_AMDVI,
  type AmdviPersonality,
  type AmdviPersonalityName,
  type AmdviTiming,
} from './amdvi/personalities.ts'
export { GartHardware, type GartHardwareOptions } from './gart/hardware.ts'
export {
  DEFAULT_GART,
  gartPersonalities,
  type GartPersonality,
  type GartPersonalityName,
  type GartTiming,
} from './gart/personalities.ts'
export { CALGARY_BASE, CalgaryChassis, type CalgaryChassisOptions } from './calgary/chassis.ts'
export { CalgaryHardware, type CalgaryHardwareOptions } from './calgary/hardware.ts'
export {
  calgaryPersonalities,
  DEFAULT_CALGARY,
  type CalgaryPersonality,
  type CalgaryPersonalityName,
  type CalgaryTiming,
} from './calgary/personalities.ts'
