export { assignDevice } from './control/assign.ts'
export { buildDomain, type BuiltDomain, type DomainConfig } from './control/domain-builder.ts'
export { DomainControl, type DomainInfo } from './control/domain-control.ts'
export { DEFAULT_LIMITS, setLimits, type IommuLimits } from './control/limits.ts'
export type { DeviceAssignment, DiskAttachment, DomainPlan } from './control/plan.ts'
export { Supervisor, type EndedDomain, type EndReason } from './control/supervisor.ts'
export {
  attachBlockDevice,
  backendPath,
  frontendPath,
  virtualDevice,
  type BlockDevice,
} from './devices/block-device.ts'
export { Connection, type Outbox } from './xenstore/connection.ts'
export type { StoreError } from './xenstore/errors.ts'
export { LocalClient } from './xenstore/local-client.ts'
export { absolutePath, domainPath, type StorePath } from './xenstore/path.ts'
export { Right, type Permission, type Permissions } from './xenstore/permissions.ts'
export { DEFAULT_QUOTA, type Quota } from './xenstore/quota.ts'
export type { Answer } from './xenstore/requests.ts'
export { startXenstore } from './xenstore/ring-transport.ts'
export { Xenstore, type DomainTransport } from './xenstore/xenstore.ts'
