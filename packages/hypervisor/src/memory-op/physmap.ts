/** What is put into a domain's slots besides its own memory: shared pages of the hypervisor, grant frames, foreign pages. */
import type { Value } from '@iospace/wire'
import { Errno, XENMAPSPACE, type xen_add_to_physmap_batch } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { SlotKind } from '../p2m.ts'

/** Puts (`space`, `idx`) into slot `gpfn`, which must be empty. `foreign`: whose frame `idx` names, for gmfn_foreign. */
export function addToPhysmap(
  call: Call,
  domain: Domain,
  space: number,
  idx: number,
  gpfn: number,
  foreign: Domain | undefined,
): number {
  const { core } = call
  let index: number
  let kind: number = SlotKind.shared
  switch (space) {
    case XENMAPSPACE.shared_info:
      if (idx !== 0) return -Errno.EINVAL
      index = domain.sharedInfo
      break
    case XENMAPSPACE.grant_table:
      index = domain.grants.frameFor(idx)
      if (index < 0) return -Errno.EINVAL
      break
    case XENMAPSPACE.gmfn_foreign:
      if (!call.caller.privileged) return -Errno.EPERM
      if (foreign === undefined) return -Errno.EINVAL
      index = core.memory.frameIndex(idx)
      if (!core.frames.belongsTo(index, foreign.domid)) return -Errno.EINVAL
      kind = SlotKind.foreign
      break
    default:
      return -Errno.ENOSYS
  }
  if (!(gpfn >= 0 && gpfn < domain.p2m.pages)) return -Errno.EINVAL
  if (!domain.p2m.vacant(gpfn)) return -Errno.EBUSY
  core.frames.hold(index)
  domain.p2m.set(gpfn, index, kind)
  return 0
}

/** Elements one by one, each with its own error; 0 unless a list cannot be read. */
export function addToPhysmapBatch(
  call: Call,
  domain: Domain,
  argument: Value<typeof xen_add_to_physmap_batch>,
): number {
  const { core, caller } = call
  const foreign = argument.space === XENMAPSPACE.gmfn_foreign ? core.find(caller, argument.foreign_domid) : undefined
  if (argument.space === XENMAPSPACE.gmfn_foreign) {
    if (!caller.privileged) return -Errno.EPERM
    if (foreign === undefined || foreign.dying) return -Errno.ESRCH
    if (foreign === domain) return -Errno.EINVAL
  }
  for (let i = 0; i < argument.size; i++) {
    const idx = call.readU64(Number(argument.idxs) + 8 * i)
    const gpfn = call.readU64(Number(argument.gpfns) + 8 * i)
    const errs = Number(argument.errs) + 4 * i
    if (idx < 0 || gpfn < 0 || !core.guest.writable(caller.p2m, errs, 4)) return -Errno.EFAULT
    call.writeI32(
      errs,
      foreign?.dying === true ? -Errno.ESRCH : addToPhysmap(call, domain, argument.space, idx, gpfn, foreign),
    )
    core.preempt()
    if (domain.dying || caller.dying) return -Errno.ESRCH
  }
  return 0
}

/** Empties a slot that {@link addToPhysmap} filled. */
export function removeFromPhysmap(call: Call, domain: Domain, gpfn: number): number {
  const { p2m } = domain
  const index = p2m.frame(gpfn)
  if (index < 0) return -Errno.ENOENT
  const kind = p2m.kind(gpfn)
  // Memory leaves by decrease_reservation, grants by their handle: both have more to undo.
  if (kind !== SlotKind.shared && kind !== SlotKind.foreign) return -Errno.EINVAL
  p2m.clear(gpfn)
  call.core.frames.put(index)
  return 0
}
