import { xen_domctl_assign_device, xen_domctl_get_device_group } from './device.ts'
import {
  xen_domctl_createdomain,
  xen_domctl_getdomaininfo,
  xen_domctl_iomem_permission,
  xen_domctl_irq_permission,
  xen_domctl_max_mem,
  xen_domctl_max_vcpus,
} from './domain.ts'
import { domctl } from './envelope.ts'

/**
 * Whole domctls, 144 bytes each: envelope and payload in one value. Those without a payload are `xen_domctl` with a
 * zero `u`.
 */
export const domctl_createdomain = domctl('domctl_createdomain', xen_domctl_createdomain)
export const domctl_getdomaininfo = domctl('domctl_getdomaininfo', xen_domctl_getdomaininfo)
export const domctl_max_mem = domctl('domctl_max_mem', xen_domctl_max_mem)
export const domctl_max_vcpus = domctl('domctl_max_vcpus', xen_domctl_max_vcpus)
export const domctl_iomem_permission = domctl('domctl_iomem_permission', xen_domctl_iomem_permission)
export const domctl_irq_permission = domctl('domctl_irq_permission', xen_domctl_irq_permission)
/** For assign_device, deassign_device and test_assign_device. */
export const domctl_assign_device = domctl('domctl_assign_device', xen_domctl_assign_device)
export const domctl_get_device_group = domctl('domctl_get_device_group', xen_domctl_get_device_group)
