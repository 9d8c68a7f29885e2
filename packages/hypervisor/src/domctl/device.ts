/** Assigning devices. Source: xen/drivers/passthrough/pci.c (iommu_do_pci_domctl); answers as real Xen 4.17 gives them. */
import type { Value } from '@iospace/wire'
import {
  DOMID,
  DOMID_CONTROL,
  Errno,
  LIMIT_PERMISSION,
  XEN_DOMCTL,
  XEN_DOMCTL_DEV,
  XEN_DOMCTL_DEV_RDM_RELAXED,
  type xen_domctl_assign_device,
  type xen_domctl_get_device_group,
} from '@iospace/abi'
import { assignDevice, deassignDevice, mayAssign, quarantine } from '../assignment/assign.ts'
import type { Call } from '../call.ts'
import type { Core } from '../core.ts'

/** assign, test_assign and deassign. */
export function deviceControl(
  core: Core,
  command: number,
  domid: number,
  u: Value<typeof xen_domctl_assign_device>,
): number {
  const test = command === XEN_DOMCTL.test_assign_device
  const pseudo = domid === DOMID.IO || (test && domid === DOMID.INVALID)
  const domain = pseudo ? undefined : core.domains[domid]
  if (!pseudo && (domain === undefined || domain.life === 'dead')) return -Errno.ESRCH
  const device = core.devices.at(u.machine_sbdf)
  const unsafe = domain !== undefined && (domain.limits.permissions & LIMIT_PERMISSION.UNSAFE_PASSTHROUGH) !== 0
  // Consent is needed to give a device away, not to take it back.
  const held = command === XEN_DOMCTL.deassign_device && device?.owner === domid
  if (!core.confines && !unsafe && !held) return -Errno.EOPNOTSUPP
  if ((u.flags & ~(command === XEN_DOMCTL.assign_device ? XEN_DOMCTL_DEV_RDM_RELAXED : 0)) !== 0) return -Errno.EINVAL
  if (u.dev !== XEN_DOMCTL_DEV.PCI) return -Errno.ENODEV
  if (command === XEN_DOMCTL.deassign_device) {
    if (domid === DOMID_CONTROL) return -Errno.EINVAL
    return device === undefined || device.owner !== domid ? -Errno.ENODEV : deassignDevice(core, device)
  }
  if (domid === DOMID_CONTROL) return -Errno.EINVAL
  if (device === undefined) return -Errno.ENODEV
  const free = device.owner === DOMID_CONTROL || device.owner === DOMID.IO
  if (test) {
    // What a reset can still mend is no obstacle yet.
    if (!free) return -Errno.EINVAL
    if (domain === undefined) return 0
    const rc = mayAssign(core, domain, device)
    return rc === -Errno.EBUSY ? 0 : rc
  }
  if (domain !== undefined) return assignDevice(core, domain, device)
  // To DOMID_IO: the control domain gives the device up, before it assigns the mates of a group.
  if (device.owner === DOMID_CONTROL) return quarantine(core, device)
  return -Errno.EBUSY
}

/** The other members of a device's group. */
export function deviceGroup(call: Call, domid: number, u: Value<typeof xen_domctl_get_device_group>): number {
  const { core } = call
  if (core.domains[domid] === undefined) return -Errno.ESRCH
  if (core.driver === null) return -Errno.EOPNOTSUPP
  const device = core.devices.at(u.machine_sbdf)
  if (device === undefined) return -Errno.ENODEV
  const mates = core.devices.group(device).filter((mate) => mate !== device)
  const fit = Math.min(mates.length, u.max_sdevs)
  for (let i = 0; i < fit; i++) if (!call.writeI32(Number(u.sdev_array) + 4 * i, mates[i]!.sbdf)) return -Errno.EFAULT
  u.num_sdevs = fit
  return 0
}
