/** A domain's interrupt of one of its devices: the machine vector that the hypervisor owns, and the port that is bound to it. */
import type { Device } from '../assignment/device.ts'

export interface Pirq {
  readonly number: number
  readonly device: Device
  readonly vector: number
  /** 0: not bound. */
  port: number
}
