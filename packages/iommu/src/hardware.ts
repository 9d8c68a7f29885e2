/** The IOMMUs as hardware, and the table of all of them. */
export { iommuModels, installVtd, type IommuModel, type TablePages } from './models.ts'
export { VTD_BASE, VtdHardware, type VtdHardwareOptions } from './vtd/hardware.ts'
export { DEFAULT_VTD, vtdPersonalities, type VtdPersonality, type VtdPersonalityName, type VtdTiming } from './vtd/personalities.ts'
export type { CacheShape } from './cache/translation-bank.ts'
