/** What the hypervisor knows of one PCI function. */
import { Capability, Config, type PciFunction } from '@iospace/machine'
import { DOMID_CONTROL } from '@iospace/abi'
import type { IommuDriver } from '@iospace/iommu/driver'
import type { Pirq } from '../event-channel/pirq.ts'

/** The BARs in the header, as dwords. */
const BARS = 6

export class Device {
  readonly fn: PciFunction
  /** Machine segment/bus/device/function. */
  readonly sbdf: number
  /** The id that the IOMMU sees: functions with the same one cannot be told apart. */
  readonly requester: number
  /** Lowest requester id that the IOMMU cannot tell from this one: all of them are translated alike. */
  readonly group: number
  /** Offset of the MSI capability; 0: none. */
  readonly msi: number
  /** Offset of the PCI Express capability; 0: none. */
  readonly express: number
  /** BARs as firmware placed them: a reset loses them, and nobody may move them. */
  readonly bars: readonly number[]

  /** Domain that has it; DOMID.IO: quarantined. */
  owner: number = DOMID_CONTROL
  virtualSbdf: number
  /** Id of the owner's space that translates it; −1: blocked, or no IOMMU. */
  space = -1
  /** Reset since its last owner used it. */
  clean = false
  /** Bus mastering is held off until a reset, because an invalidation failed or it faulted too much. */
  fenced = false
  /** BARs whose size is being read: all ones were written. */
  sizing = 0
  pirq: Pirq | null = null
  /** Faults since its owner got it or the last quiet time, and when the last one was. */
  faults = 0
  lastFault = 0
  /** Faults of it are no longer reported. */
  suppressed = false

  constructor(fn: PciFunction, driver: IommuDriver | null) {
    this.fn = fn
    this.sbdf = fn.bdf
    this.virtualSbdf = fn.bdf
    this.requester = fn.requester
    this.group = driver === null ? 0 : driver.groupOf(fn.requester)
    this.msi = fn.config.findCapability(Capability.msi)
    this.express = fn.config.findCapability(Capability.pciExpress)
    this.bars = Array.from({ length: BARS }, (_, i) => fn.config.read(Config.bar0 + 4 * i, 4))
  }
}
