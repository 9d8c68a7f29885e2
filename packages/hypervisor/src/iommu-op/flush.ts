/** Sub-op 9, `flush`: completes pending invalidations. Completing one completes all of the space, so every form does the same work. */
import { Errno, FLUSH_FLAGS as Flag, iommu_flush } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { answer, decode } from './argument.ts'
import { findSpace } from './find-space.ts'

export function flush(call: Call, domain: Domain): number {
  const value = decode(call, iommu_flush)
  const all = (value.flags & Flag.ALL) !== 0
  const range = (value.flags & Flag.RANGE) !== 0
  if (all && range) return -Errno.EINVAL
  if ((all || range) && value.ticket !== 0n) return -Errno.EINVAL
  if (range ? (value.io_address & 0xfffn) !== 0n || value.pages === 0n : value.io_address !== 0n || value.pages !== 0n)
    return -Errno.EINVAL
  const space = findSpace(call.core, domain, value.space)
  if (typeof space === 'number') return space
  if (range && value.io_address + value.pages * 4096n > 2n ** 64n) return -Errno.EOVERFLOW
  const { deferred } = space
  if (!all && !range && value.ticket > BigInt(deferred.issued)) return -Errno.EINVAL
  const complete = deferred.complete()
  value.completed = BigInt(deferred.completed)
  answer(call, iommu_flush, value, 'completed')
  return complete ? 0 : -Errno.EIO
}
