/**
 * From the unit's log to the owner's ring: each record is attributed to the functions behind its requester id, written into their owner's ring, and
 * announced by a virq. A storm is cut off per device: first its reports, then its bus mastering.
 */
import { DOMID, FAULT_FLAGS, FAULT_REASON, SPACE_NONE, VIRQ } from '@iospace/abi'
import type { IommuFault } from '@iospace/iommu/driver'
import type { Device } from '../assignment/device.ts'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { Mark } from '../io-space/mark.ts'
import { writeRecord } from './write.ts'

/** Faults of one device after which it is no longer reported, and after which it is taken off the bus. Source: Xen's pci_check_disable_device (10). */
export const SUPPRESS_AFTER = 64
export const FENCE_AFTER = 256
/** Quiet time, ns, after which a device's count is halved. */
export const QUIET = 10_000_000

/** Empties the unit's log. Called at its fault interrupt. */
export function drainFaults(core: Core): void {
  core.driver?.drainFaults((fault) => report(core, fault))
}

function report(core: Core, fault: IommuFault): void {
  const devices = core.devices.behind(fault.requester)
  if (fault.lostBefore) markLost(core)
  // All that a group has in common is its owner, if it has one.
  const device = devices.find(({ owner }) => owner !== DOMID.IO) ?? devices[0]
  const domain = device === undefined ? undefined : core.domains[device.owner]
  if (device === undefined || domain === undefined || domain.dying || device.owner === DOMID.IO) {
    core.books.faultsUnowned++
    if (device !== undefined) countFault(core, device, devices)
    return
  }
  const reported = countFault(core, device, devices)
  if (!reported) {
    core.books.faultsSuppressed++
    return
  }
  const record = {
    reason: reasonOf(domain, device, fault),
    hw_reason: fault.hardwareReason,
    flags:
      (fault.write ? FAULT_FLAGS.WRITE : FAULT_FLAGS.READ) |
      (fault.addressValid ? FAULT_FLAGS.ADDRESS_VALID : 0) |
      (devices.length === 1 ? FAULT_FLAGS.EXACT_REQUESTER : 0) |
      (domain.faultsLost ? FAULT_FLAGS.LOST_BEFORE : 0) |
      (device.suppressed ? FAULT_FLAGS.REPEATED : 0),
    device: device.virtualSbdf,
    space: device.space < 0 ? SPACE_NONE : device.space,
    hi: fault.hi,
    lo: fault.lo,
  }
  domain.faultsLost = false
  if (writeRecord(core, domain, record)) core.books.faultsReported++
  else core.books.faultsLost++
  core.raiseVirq(domain, VIRQ.IOMMU_FAULT)
}

/** True while faults of `device`, which stands for `suspects`, are still reported. */
function countFault(core: Core, device: Device, suspects: readonly Device[]): boolean {
  const { now } = core.clock
  if (now - device.lastFault > QUIET) device.faults >>= 1
  device.lastFault = now
  device.faults++
  if (device.faults >= FENCE_AFTER) for (const suspect of suspects) if (!suspect.fenced) core.devices.fence(suspect)
  if (device.suppressed) return false
  // The last record that is reported says that more were not.
  if (device.faults >= SUPPRESS_AFTER) device.suppressed = true
  return true
}

/** The hardware lost a record: nobody knows whose, so every domain behind the unit is told with its next one. */
function markLost(core: Core): void {
  for (const device of core.devices.all()) {
    const owner = core.domains[device.owner]
    if (owner !== undefined) owner.faultsLost = true
  }
}

/** The portable reason, from what the hypervisor knows of the address: hardware codes differ. */
function reasonOf(domain: Domain, device: Device, fault: IommuFault): number {
  if (device.space < 0) return FAULT_REASON.BLOCKED
  if (!fault.addressValid) return FAULT_REASON.UNKNOWN
  const space = domain.spaces.get(device.space)
  const page = (fault.hi >>> 0) * 2 ** 20 + (fault.lo >>> 12)
  if (space === undefined) return FAULT_REASON.NOT_MAPPED
  if (page >= space.window.end) return FAULT_REASON.OUT_OF_RANGE
  const value = space.pages.get(page)
  if ((value & (Mark.read | Mark.write)) === 0 || (value & Mark.pending) !== 0) return FAULT_REASON.NOT_MAPPED
  if (fault.write && (value & Mark.write) === 0) return FAULT_REASON.NOT_WRITABLE
  if (!fault.write && (value & Mark.read) === 0) return FAULT_REASON.NOT_READABLE
  return FAULT_REASON.UNKNOWN
}
