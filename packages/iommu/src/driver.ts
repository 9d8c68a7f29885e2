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
