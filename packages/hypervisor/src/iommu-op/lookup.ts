/** Sub-op 13, `lookup`: what a device of the space reaches at an I/O address. */
import { Errno, HANDLE_NONE, LOOKUP_KIND, iommu_lookup } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { ACCESS_BITS, Mark, PAYLOAD_SHIFT } from '../io-space/mark.ts'
import { isMapped } from '../io-space/space.ts'
import { answer, decode } from './argument.ts'
import { findSpace } from './find-space.ts'

export function lookup(call: Call, domain: Domain): number {
  const { core } = call
  const value = decode(call, iommu_lookup)
  const space = findSpace(core, domain, value.space)
  if (typeof space === 'number') return space
  const page = Number(value.io_address >> 12n)
  if (page < space.window.first || page >= space.window.end) return -Errno.ERANGE
  const mark = space.pages.get(page)
  if (!isMapped(mark)) return -Errno.ENOENT
  const start = space.startOf(page)
  const payload = mark >>> PAYLOAD_SHIFT
  const grant = (mark & Mark.grant) !== 0
  const byHandle = grant && (mark & Mark.device) === 0
  value.gfn = grant ? 0n : BigInt(core.mfn(payload))
  value.start = BigInt(start) * 4096n
  value.pages = BigInt(space.lengthFrom(start))
  value.access = mark & ACCESS_BITS
  value.granted = mark & ACCESS_BITS
  value.kind = grant ? LOOKUP_KIND.GRANT : LOOKUP_KIND.MEMORY
  value.page_order = 0
  value.handle = byHandle ? space.grants.handle(payload) : HANDLE_NONE
  value.ref = byHandle ? space.grants.ref[payload]! : 0
  value.owner = byHandle ? space.grants.domid[payload]! : grant ? core.frames.owner(payload) : domain.domid
  answer(
    call,
    iommu_lookup,
    value,
    'gfn',
    'start',
    'pages',
    'access',
    'granted',
    'kind',
    'page_order',
    'handle',
    'ref',
    'owner',
  )
  return 0
}
