/**
 * What devices reach, read from the tables in machine memory by the specification's formats and by nothing else: not by the walk that
 * the hardware uses, and not by the driver's own notes.
 */
import type { System } from '@iospace/lab'
import { PciBridge, type PciFunction } from '@iospace/machine'
import { amdviReach } from './reach/amdvi.ts'
import { calgaryReach } from './reach/calgary.ts'
import type { Reached } from './reach/tables.ts'
import { vtdReach } from './reach/vtd.ts'

export type { Reached } from './reach/tables.ts'

export type Iommu = System['description']['iommu']

/** Whether the unit keeps devices out of memory that is not theirs. */
export const confines = (iommu: Iommu): boolean => iommu !== 'none' && iommu !== 'gart'

/** Every function that a domain can have. */
export const functionsOf = (system: System): PciFunction[] =>
  system.machine.pci.functions().filter((each) => !(each instanceof PciBridge) && each.bdf >>> 8 !== 0)

/** First frame of the root or device table, which stays where it is. */
export function rootOf(system: System): number {
  const [root] = system.hypervisor.oracle.iommuFrames()
  if (root === undefined) throw new Error('there is no IOMMU')
  return root
}

/** What requests of `requester` reach now; nothing where it is blocked. Only for units that confine. */
export function reachOf(system: System, requester: number, root: number = rootOf(system)): Reached[] {
  switch (system.description.iommu) {
    case 'vtd':
      return vtdReach(system, requester, root)
    case 'amdvi':
      return amdviReach(system, requester, root)
    case 'calgary':
      return calgaryReach(system, requester)
    default:
      throw new Error(`nothing confines devices with --iommu ${system.description.iommu}`)
  }
}
