/** What a unit can do, in the ABI's words. */
import { ACCESS_KIND, HARDWARE_KIND } from '@iospace/abi'
import type { IommuCapabilities } from '@iospace/iommu/driver'

const KINDS = {
  none: HARDWARE_KIND.NONE,
  vtd: HARDWARE_KIND.VTD,
  amdvi: HARDWARE_KIND.AMDVI,
  calgary: HARDWARE_KIND.CALGARY,
  gart: HARDWARE_KIND.GART,
}

export function hardwareKind(capabilities: IommuCapabilities | null): number {
  return KINDS[capabilities?.kind ?? 'none']
}

/** ACCESS_KIND bits: which accesses an entry can express exactly. */
export function accessKinds({ readOnly, writeOnly }: IommuCapabilities): number {
  return ACCESS_KIND.READ_WRITE | (readOnly ? ACCESS_KIND.READ : 0) | (writeOnly ? ACCESS_KIND.WRITE : 0)
}
