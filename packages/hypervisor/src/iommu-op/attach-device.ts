/** Sub-op 5, `attach_device`: one store per requester id switches its translation, so every request sees wholly the old or the new space. */
import { ATTACH_DEVICE_FLAGS as Flag, Errno, iommu_attach_device } from '@iospace/abi'
import { matesOf, moveRequester } from '../assignment/assign.ts'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { ensureDefault, hasSpace } from '../io-space/default-space.ts'
import { answer, decode } from './argument.ts'

export function attachDevice(call: Call, domain: Domain): number {
  const { core } = call
  const value = decode(call, iommu_attach_device)
  const device = core.devices.named(domain, value.device)
  if (device === undefined) return -Errno.ENODEV
  if (value.space === 0) {
    const rc = ensureDefault(core, domain)
    if (rc !== 0) return rc
  }
  if (!hasSpace(core, domain, value.space)) return -Errno.ENOENT
  const mates = matesOf(core, device).filter((mate) => mate.owner === domain.domid)
  const elsewhere = mates.filter((mate) => mate.space >= 0 && mate.space !== value.space)
  if (elsewhere.length > 0 && (value.flags & Flag.WHOLE_GROUP) === 0) return -Errno.EBUSY
  // What was deferred under the old translation is completed before the tag changes.
  for (const space of domain.spaces) if (!space.deferred.complete()) return -Errno.EIO
  const rc = moveRequester(core, domain, device, value.space)
  if (rc !== 0) return rc
  value.members = 1 + mates.length
  answer(call, iommu_attach_device, value, 'members')
  return 0
}
