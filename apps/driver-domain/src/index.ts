export { driverDomain, type DriverDomainCounts, type DriverDomainOptions } from './driver-domain.ts'
