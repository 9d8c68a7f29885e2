/** Sub-op 11, `unmap_grant`: ends mappings of map_grant by handle. The grant stays pinned until the invalidation is complete. */
import {
  Errno,
  GNTST,
  UNMAP_GRANT_FLAGS as Flag,
  iommu_unmap_grant,
  iommu_unmap_grant_element as element,
} from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { Mark } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'
import { finishUnmap } from './finish-unmap.ts'
import { findSpace } from './find-space.ts'
import { unmapGrantPages } from './unmap-grant-pages.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { CONTINUE, NO_FLUSH } = Flag
const OKAY = GNTST.okay
const DONE = iommu_unmap_grant.offsets.done
const TICKET = iommu_unmap_grant.offsets.ticket
const { status: STATUS, error: ERROR } = element.offsets
const { pending: PENDING } = Mark

const { words } = iommu_unmap_grant
const E = element.words
const SIZE_WORDS = element.size / 4
const STATUS_MASK = 0xffff
const BETWEEN_CHECKS = 64

export function unmapGrant(call: Call, domain: Domain): number {
  const { core, elements, words: w } = call
  const base = call.at >>> 2
  const flags = w[base + words.flags]!
  const space = findSpace(core, domain, w[base + words.space]! >>> 0)
  if (typeof space === 'number') return space
  // Strict unless asked otherwise, whatever the space's habit is: a granter waits.
  const defer = (flags & NO_FLUSH) !== 0 && domain.limits.maxDeferred > 0
  let rc = 0
  let done = 0
  for (let i = 0; i < elements.count;) {
    const stop = Math.min(elements.count, i + BETWEEN_CHECKS - (i % BETWEEN_CHECKS))
    const next = unmapGrantPages(call, space, i, stop)
    done += next - i
    i = next
    if (i < stop) {
      const error = unmapElement(call, space, i++)
      if (error === 0) done++
      else if ((flags & CONTINUE) === 0) {
        rc = error
        break
      }
    }
    if (i % BETWEEN_CHECKS === 0) {
      core.preempt()
      if (space.dead) return -Errno.EAGAIN
    }
  }
  call.argument.write32(core.memory, DONE, done)
  const finished = finishUnmap(call, space, defer, TICKET)
  return finished !== 0 ? finished : rc
}

function unmapElement(call: Call, space: Space, i: number): number {
  const at = (call.listAt >>> 2) + i * SIZE_WORDS
  const { memory } = call.core
  const error = end(call, space, i, at)
  const status = error === 0 ? OKAY : error === -Errno.ENOENT ? GNTST.bad_handle : GNTST.general_error
  const out = i * call.elements.stride
  // The other half of its word is padding, which is zero.
  call.list.write32(memory, out + STATUS, status & STATUS_MASK)
  call.list.write32(memory, out + ERROR, error)
  return error
}

function end(call: Call, space: Space, i: number, at: number): number {
  const w = call.words
  if (call.elements.unknownTail(i, element.size)) return -Errno.E2BIG
  if (w[at + E.status]! >>> 16 !== 0 || w[at + E.error + 1] !== 0) return -Errno.EINVAL
  const slot = space.grants.slot(w[at + E.handle]! >>> 0)
  const page = slot < 0 ? -1 : space.grants.page[slot]!
  const value = slot < 0 ? 0 : space.pages.get(page)
  // One whose invalidation is pending has ended already.
  if (slot < 0 || (value & PENDING) !== 0) return -Errno.ENOENT
  const rc = space.clear(page, 1)
  if (rc !== 0) return rc
  space.setPending(page)
  space.deferred.add(page, 1)
  space.noteUnmapped(page, 1)
  return 0
}
