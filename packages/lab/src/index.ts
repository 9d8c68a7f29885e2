export { domainPlatform } from './adapt/platform.ts'
export { messageTurn, type Turn } from './adapt/turn.ts'
export type { SystemBooks } from './books.ts'
export { buildSystem, type Program, type SystemPorts } from './build.ts'
export {
  commandLineOf,
  deviceSbdf,
  planOf,
  sbdfOf,
  type DeviceDescription,
  type DomainDescription,
  type NvmeDescription,
  type RogueDescription,
  type SystemDescription,
} from './describe.ts'
export { HostOracle, type AttackTargets } from './oracle.ts'
export { System, WaitsForEver, type Crash, type SystemOutcome } from './system.ts'
