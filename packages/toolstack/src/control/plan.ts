/** What the control domain is to set up, as plain data: policy, decided before anything runs. */
import type { DomainConfig } from './domain-builder.ts'
import type { IommuLimits } from './limits.ts'

export interface DeviceAssignment {
  /** Machine address of the function, and the address by which the domain will know it. */
  readonly sbdf: number
  readonly name: number
}

export interface DiskAttachment {
  /** `xvda`, `xvdb`… */
  readonly name: string
  /** Name of the domain that serves it; it comes earlier in the plan. */
  readonly backend: string
  /** Name of the block device in that domain's kernel. */
  readonly params: string
  readonly readOnly: boolean
  /** True length of its contents in bytes. */
  readonly bytes: number
}

/** One domain: made in the order of the plan, taken apart in the opposite order. */
export interface DomainPlan extends DomainConfig {
  readonly limits: IommuLimits
  readonly devices: readonly DeviceAssignment[]
  readonly disks: readonly DiskAttachment[]
  /** A service lives until those that it serves are gone; the others end by themselves. */
  readonly service: boolean
  /** The control domain lends it a page, for as long as it likes. */
  readonly borrows: boolean
}
