export { guest, type GuestOptions, type GuestResult, type Hasher } from './guest.ts'
export type { AttackRow, Oracle } from './attacks/attack.ts'
export type { AttackPorts, Targets } from './attacks/run-attacks.ts'
