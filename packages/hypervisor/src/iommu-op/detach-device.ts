/** Sub-op 6, `detach_device`: to blocked, never to identity. */
import { DETACH_DEVICE_FLAGS as Flag, Errno, iommu_detach_device } from '@iospace/abi'
import { blockRequester, matesOf } from '../assignment/assign.ts'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { answer, decode } from './argument.ts'
import { stateOf } from './query-device.ts'

export function detachDevice(call: Call, domain: Domain): number {
  const { core } = call
  const value = decode(call, iommu_detach_device)
  const device = core.devices.named(domain, value.device)
  if (device === undefined) return -Errno.ENODEV
  if (device.space < 0) return -Errno.ENOENT
  const mates = matesOf(core, device).filter((mate) => mate.owner === domain.domid && mate.space >= 0)
  if (mates.length > 0 && (value.flags & Flag.WHOLE_GROUP) === 0) return -Errno.EBUSY
  for (const space of domain.spaces) if (!space.deferred.complete()) return -Errno.EIO
  const rc = blockRequester(core, device, true)
  if (rc !== 0) return rc
  value.state = stateOf(device)
  value.members = 1 + mates.length
  answer(call, iommu_detach_device, value, 'state', 'members')
  return 0
}
