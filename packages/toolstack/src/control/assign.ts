import { formatSbdf, iommu_name_device, IOMMU_OP, pci_device_reset, PCI_DEVICE_RESET, PHYSDEVOP } from '@iospace/abi'
import type { Kernel } from '@iospace/linux'
import type { DomainControl } from './domain-control.ts'
import { must } from './failure.ts'

/**
 * Gives the function at machine address `sbdf` to `domid`, which will know it as `name`. It is reset first, so that nothing of its
 * last owner is left in it. The domain's limits are set before. StateError with the step that the hypervisor refused; the device is
 * then not assigned.
 */
export function assignDevice(
  kernel: Kernel,
  control: DomainControl,
  domid: number,
  sbdf: number,
  name: number = sbdf,
): void {
  const what = `device ${formatSbdf(sbdf)}`
  const dev = { seg: sbdf >>> 16, bus: (sbdf >>> 8) & 0xff, devfn: sbdf & 0xff }
  const reset = { dev, flags: PCI_DEVICE_RESET.FLR }
  must(what, 'reset it', kernel.hypercalls.call('physdev_op', PHYSDEVOP.pci_device_reset, pci_device_reset, reset))
  must(what, `assign it to domain ${domid}`, control.testAssign(domid, sbdf))
  must(what, `assign it to domain ${domid}`, control.assign(domid, sbdf))
  const value = { ...iommu_name_device.zero(), size: iommu_name_device.size, domid, machine_device: sbdf, device: name }
  const named = kernel.hypercalls.call('iommu_op', IOMMU_OP.name_device, iommu_name_device, value)
  if (named < 0) control.deassign(domid, sbdf)
  must(what, 'name it', named)
}
