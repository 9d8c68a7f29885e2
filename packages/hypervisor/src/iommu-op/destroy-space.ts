/** Sub-op 4, `destroy_space`: devices are blocked, the table is invalidated, references go, tables are freed. */
import { DESTROY_SPACE_FLAGS as Flag, Errno, SPACE_DEFAULT, iommu_destroy_space } from '@iospace/abi'
import { blockRequester } from '../assignment/assign.ts'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { destroySpace } from '../io-space/destroy.ts'
import { decode } from './argument.ts'

export function destroySpaceOp(call: Call, domain: Domain): number {
  const { core } = call
  const { flags, space: id } = decode(call, iommu_destroy_space)
  if (id === SPACE_DEFAULT) return -Errno.EPERM
  const space = domain.spaces.get(id)
  if (space === undefined) return -Errno.ENOENT
  const attached = domain.devices.filter((device) => device.space === id)
  if ((flags & Flag.DETACH) === 0 && (attached.length > 0 || space.grants.count > 0)) return -Errno.EBUSY
  let rc = 0
  for (const device of attached) {
    // A mate with the same requester went with the one before it.
    if (device.space === id && blockRequester(core, device, true) !== 0) rc = -Errno.EIO
  }
  domain.spaces.remove(id)
  domain.spaceCount--
  return destroySpace(core, space) ? rc : -Errno.EIO
}
