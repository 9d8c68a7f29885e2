/** Sub-op 21, `name_device`: the virtual sbdf by which a domain knows a device that it was given. */
import { Errno, iommu_name_device } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { decode } from './argument.ts'

export function nameDevice(call: Call, domain: Domain): number {
  const { machine_device, device: name } = decode(call, iommu_name_device)
  const device = call.core.devices.at(machine_device)
  if (device === undefined || device.owner !== domain.domid) return -Errno.ENODEV
  const other = call.core.devices.named(domain, name)
  if (other !== undefined && other !== device) return -Errno.EEXIST
  device.virtualSbdf = name
  return 0
}
