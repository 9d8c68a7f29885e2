/** Pirqs: a domain's name for the interrupt of one of its devices. */
import type { Value } from '@iospace/wire'
import { Errno, MAP_PIRQ_TYPE, type physdev_map_pirq } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'

/** The pirq, or a negative errno. The device is named by the target's virtual sbdf. */
export function mapPirq(call: Call, argument: Value<typeof physdev_map_pirq>): number {
  const { core } = call
  const domain = target(call, argument.domid)
  if (typeof domain === 'number') return domain
  if (argument.type !== MAP_PIRQ_TYPE.MSI && argument.type !== MAP_PIRQ_TYPE.MSI_SEG) return -Errno.EINVAL
  const segment = argument.type === MAP_PIRQ_TYPE.MSI_SEG ? argument.bus >>> 16 : 0
  const device = core.devices.named(
    domain,
    ((segment << 16) | ((argument.bus & 0xff) << 8) | (argument.devfn & 0xff)) >>> 0,
  )
  if (device === undefined) return -Errno.ENODEV
  // MSI-X (entry_nr, table_base) and several vectors are not modelled.
  if (device.msi === 0 || argument.entry_nr !== 0 || argument.table_base !== 0n) return -Errno.EOPNOTSUPP
  if (device.pirq !== null) return -Errno.EEXIST
  const pirq = core.devices.vectors.allocate(domain, device, argument.pirq)
  return typeof pirq === 'number' ? pirq : pirq.number
}

export function unmapPirq(call: Call, domid: number, number: number): number {
  const domain = target(call, domid)
  if (typeof domain === 'number') return domain
  const pirq = domain.pirqs[number]
  if (pirq === undefined) return -Errno.EINVAL
  if (pirq.port !== 0) return -Errno.EBUSY
  return call.core.devices.vectors.free(domain, pirq)
}

function target(call: Call, domid: number): Domain | number {
  const domain = call.core.find(call.caller, domid)
  if (domain === call.caller) return domain
  if (!call.caller.privileged) return -Errno.EPERM
  return domain === undefined || domain.dying ? -Errno.ESRCH : domain
}
