/** `iommu_op(subop, guest pointer to struct)`: opens the argument and hands it to the sub-op. */
import { Errno, IOMMU_OP } from '@iospace/abi'
import type { Call } from '../call.ts'
import { attachDevice } from './attach-device.ts'
import { createSpace } from './create-space.ts'
import { destroySpaceOp } from './destroy-space.ts'
import { detachDevice } from './detach-device.ts'
import { flush } from './flush.ts'
import { open } from './header.ts'
import { lookup } from './lookup.ts'
import { mapGrant } from './map-grant.ts'
import { map } from './map.ts'
import { nameDevice } from './name-device.ts'
import { query } from './query.ts'
import { queryDevice } from './query-device.ts'
import { setDefault } from './set-default.ts'
import { setFaultRing } from './set-fault-ring.ts'
import { setLimits } from './set-limits.ts'
import { unmapGrant } from './unmap-grant.ts'
import { unmap } from './unmap.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const Op = IOMMU_OP

export function iommuOp(call: Call, subop: number, pointer: number): number {
  const domain = open(call, subop, pointer)
  if (typeof domain === 'number') return domain
  switch (subop) {
    case Op.query:
      return query(call, domain)
    // Consent and names are needed without an IOMMU, too.
    case Op.set_limits:
      return setLimits(call, domain)
    case Op.name_device:
      return nameDevice(call, domain)
  }
  if (call.core.driver === null) return -Errno.EOPNOTSUPP
  switch (subop) {
    case Op.map:
      return map(call, domain)
    case Op.unmap:
      return unmap(call, domain)
    case Op.map_grant:
      return mapGrant(call, domain)
    case Op.unmap_grant:
      return unmapGrant(call, domain)
    case Op.flush:
      return flush(call, domain)
    case Op.lookup:
      return lookup(call, domain)
    case Op.query_device:
      return queryDevice(call, domain)
    case Op.create_space:
      return createSpace(call, domain)
    case Op.destroy_space:
      return destroySpaceOp(call, domain)
    case Op.attach_device:
      return attachDevice(call, domain)
    case Op.detach_device:
      return detachDevice(call, domain)
    case Op.set_fault_ring:
      return setFaultRing(call, domain)
    case Op.set_default:
      return setDefault(call, domain)
    default:
      return -Errno.EOPNOTSUPP
  }
}
