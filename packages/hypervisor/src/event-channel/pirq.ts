/** A domain's interrupt of one of its devices: the machine vector that the hypervisor owns, and the port that is bound to it. */
import type { InterruptMessage } from '@iospace/iommu/driver'
import type { Device } from '../assignment/device.ts'

export interface Pirq {
  readonly number: number
  readonly device: Device
  readonly vector: number
  /** What the device writes to raise it, and the unit's entry that turns that into the vector; −1: messages reach the CPU as they are. */
  readonly message: Readonly<InterruptMessage>
  readonly entry: number
  /** 0: not bound. */
  port: number
}
