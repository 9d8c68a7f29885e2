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

export function iommuOp(call: Call, subop: number, pointer: number): number {
  const domain = open(call, subop, pointer)
  if (typeof domain === 'number') return domain
  switch (subop) {
    case IOMMU_OP.query:
      return query(call, domain)
    // Consent and names are needed without an IOMMU, too.
    case IOMMU_OP.set_limits:
      return setLimits(call, domain)
    case IOMMU_OP.name_device:
      return nameDevice(call, domain)
  }
  if (call.core.driver === null) return -Errno.EOPNOTSUPP
  switch (subop) {
    case IOMMU_OP.map:
      return map(call, domain)
    case IOMMU_OP.unmap:
      return unmap(call, domain)
    case IOMMU_OP.map_grant:
      return mapGrant(call, domain)
    case IOMMU_OP.unmap_grant:
      return unmapGrant(call, domain)
    case IOMMU_OP.flush:
      return flush(call, domain)
    case IOMMU_OP.lookup:
      return lookup(call, domain)
    case IOMMU_OP.query_device:
      return queryDevice(call, domain)
    case IOMMU_OP.create_space:
      return createSpace(call, domain)
    case IOMMU_OP.destroy_space:
      return destroySpaceOp(call, domain)
    case IOMMU_OP.attach_device:
      return attachDevice(call, domain)
    case IOMMU_OP.detach_device:
      return detachDevice(call, domain)
    case IOMMU_OP.set_fault_ring:
      return setFaultRing(call, domain)
    case IOMMU_OP.set_default:
      return setDefault(call, domain)
    default:
      return -Errno.EOPNOTSUPP
  }
}
