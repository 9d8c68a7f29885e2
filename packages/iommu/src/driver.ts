/** The IOMMUs' drivers, and the interface that they share. */
export {
  Access,
  DriverStatus,
  type DriverPort,
  type IommuCapabilities,
  type IommuDriver,
  type IommuFault,
  type IommuKind,
  type InterruptMessage,
} from './iommu-driver.ts'
export { MachinePort, type MachinePortOptions } from './machine-port.ts'
export { VtdDriver, type VtdDriverOptions } from './vtd/driver.ts'
export { AmdviDriver, type AmdviDriverOptions } from './amdvi/driver.ts'
export { findUnit as findAmdviUnit, type FoundUnit } from './amdvi/driver/find-unit.ts'
export { GartDriver, type GartDriverOptions } from './gart/driver.ts'
export { findNodes as findGartNodes } from './gart/driver/find-nodes.ts'
export type { ConfigAccess } from './config-access.ts'
export { CalgaryDriver, type CalgaryDriverOptions } from './calgary/driver.ts'
