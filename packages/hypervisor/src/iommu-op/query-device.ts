/** Sub-op 1, `query_device`: which group a device is in and why, what its unit can do, and what it is attached to. */
import { DEVICE_STATE, DOMID, Errno, GRANULARITY, GROUP_REASON, SPACE_NONE, iommu_query_device } from '@iospace/abi'
import type { IommuCapabilities } from '@iospace/iommu/driver'
import type { Device } from '../assignment/device.ts'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { accessKinds, hardwareKind } from '../io-space/capabilities.ts'
import { MAX_IO_BITS } from '../io-space/space.ts'
import { answer, decode } from './argument.ts'

const GRANULARITIES = { none: GRANULARITY.SHARED, bus: GRANULARITY.BUS, function: GRANULARITY.FUNCTION }

export function queryDevice(call: Call, domain: Domain): number {
  const { core } = call
  const value = decode(call, iommu_query_device)
  const device = core.devices.named(domain, value.device)
  if (device === undefined) return -Errno.ENODEV
  const { capabilities } = core.driver!
  const members = core.devices.group(device)
  value.group = device.group
  value.members = members.length
  value.own_members = members.filter((mate) => mate.owner === domain.domid).length
  value.granularity = GRANULARITIES[capabilities.granularity]
  value.reasons = reasons(capabilities, members)
  value.space = device.space < 0 ? SPACE_NONE : device.space
  value.state = stateOf(device)
  value.hardware_kind = hardwareKind(capabilities)
  value.access_kinds = accessKinds(capabilities)
  value.address_width = Math.min(capabilities.addressBits, MAX_IO_BITS)
  value.page_sizes = BigInt(capabilities.pageSizes)
  answer(
    call,
    iommu_query_device,
    value,
    'group',
    'members',
    'own_members',
    'granularity',
    'reasons',
    'space',
    'state',
    'hardware_kind',
    'access_kinds',
    'address_width',
    'page_sizes',
  )
  return 0
}

/** Where a device is, in the ABI's words. */
export function stateOf(device: Device): number {
  if (device.fenced) return DEVICE_STATE.FENCED
  if (device.owner === DOMID.IO) return DEVICE_STATE.QUARANTINED
  return device.space < 0 ? DEVICE_STATE.BLOCKED : DEVICE_STATE.ATTACHED
}

function reasons({ granularity }: IommuCapabilities, members: readonly Device[]): number {
  // Behind a bridge to conventional PCI requests carry the bridge's id, even where there is one function only.
  if (members.some((mate) => mate.requester !== mate.sbdf)) return GROUP_REASON.BRIDGE_ALIAS
  if (members.length === 1) return 0
  return granularity === 'bus' ? GROUP_REASON.SAME_BUS : GROUP_REASON.SHARED_UNIT
}
