/** `domctl`: the control domain's calls. Source: xen/common/domctl.c, xen/drivers/passthrough/pci.c; answers as of Xen 4.17. */
import {
  Errno,
  XEN_DOMCTL,
  XEN_DOMCTL_INTERFACE_VERSION,
  domctl_assign_device,
  domctl_createdomain,
  domctl_get_device_group,
  domctl_getdomaininfo,
  domctl_iomem_permission,
  domctl_max_mem,
  domctl_max_vcpus,
  xen_domctl,
} from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { unpause } from '../lifecycle.ts'
import { destroyDomain } from '../teardown.ts'
import { createDomain } from './create.ts'
import { deviceControl, deviceGroup } from './device.ts'
import { fillInfo } from './info.ts'
import { iomemPermission, maxMem } from './memory.ts'

export function domctl(call: Call, pointer: number): number {
  const { core, caller } = call
  const { offsets } = xen_domctl
  if (!core.guest.copyIn(caller.p2m, pointer, call.at, xen_domctl.size)) return -Errno.EFAULT
  // The one copy: everything below decodes it.
  const { view } = core.memory
  const command = view.getUint32(call.at + offsets.cmd, true)
  const version = view.getUint32(call.at + offsets.interface_version, true)
  const domid = view.getUint16(call.at + offsets.domain, true)
  call.subop = command
  if (version !== XEN_DOMCTL_INTERFACE_VERSION) return -Errno.EACCES
  if (!caller.privileged) return -Errno.EPERM
  switch (command) {
    case XEN_DOMCTL.createdomain: {
      const argument = domctl_createdomain.read(view, call.at)
      if (!core.guest.writable(caller.p2m, pointer, xen_domctl.size)) return -Errno.EFAULT
      const made = createDomain(core, domid, argument.u)
      if (made < 0) return made
      argument.domain = made
      return call.write(domctl_createdomain, pointer, argument) ? 0 : -Errno.EFAULT
    }
    case XEN_DOMCTL.getdomaininfo: {
      const argument = domctl_getdomaininfo.read(view, call.at)
      if (!fillInfo(core, argument)) return -Errno.ESRCH
      return call.write(domctl_getdomaininfo, pointer, argument) ? 0 : -Errno.EFAULT
    }
    // These name DOMID_IO and DOMID_INVALID, too.
    case XEN_DOMCTL.assign_device:
    case XEN_DOMCTL.test_assign_device:
    case XEN_DOMCTL.deassign_device: {
      const { u } = domctl_assign_device.read(view, call.at)
      return deviceControl(core, command, domid, u)
    }
    case XEN_DOMCTL.get_device_group: {
      const argument = domctl_get_device_group.read(view, call.at)
      const rc = deviceGroup(call, domid, argument.u)
      if (rc !== 0) return rc
      return call.write(domctl_get_device_group, pointer, argument) ? 0 : -Errno.EFAULT
    }
  }
  const domain = core.find(caller, domid)
  if (domain === undefined) return -Errno.ESRCH
  if (command === XEN_DOMCTL.destroydomain) return domain === caller ? -Errno.EINVAL : destroyDomain(core, domain)
  return domain.dying ? -Errno.ESRCH : living(call, command, domain)
}

/** Calls about a domain that is not being destroyed; the argument is in the scratch. */
function living(call: Call, command: number, domain: Domain): number {
  const { core, caller } = call
  const { view } = core.memory
  switch (command) {
    case XEN_DOMCTL.pausedomain:
      if (domain === caller) return -Errno.EINVAL
      // Tasks cannot be stopped in their tracks: only what has not started is paused.
      return domain.life === 'building' ? 0 : -Errno.EOPNOTSUPP
    case XEN_DOMCTL.unpausedomain:
      return domain === caller ? -Errno.EINVAL : unpause(core, domain)
    case XEN_DOMCTL.max_mem:
      return maxMem(core, domain, domctl_max_mem.read(view, call.at).u.max_memkb)
    case XEN_DOMCTL.max_vcpus:
      return domctl_max_vcpus.read(view, call.at).u.max === 1 ? 0 : -Errno.EINVAL
    case XEN_DOMCTL.iomem_permission:
      return iomemPermission(caller, domain, domctl_iomem_permission.read(view, call.at).u)
    case XEN_DOMCTL.irq_permission:
      // Interrupts come with their device here.
      return 0
    default:
      return -Errno.ENOSYS
  }
}
