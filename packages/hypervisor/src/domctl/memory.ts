/** How much memory a domain may have, and which registers. */
import type { Value } from '@iospace/wire'
import { Errno, type xen_domctl_iomem_permission } from '@iospace/abi'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { SPARE_SLOTS } from '../p2m.ts'

/** Sets the most memory that the domain may have, in KiB, and makes its numbering long enough. */
export function maxMem(core: Core, domain: Domain, kib: bigint): number {
  const pages = kib / 4n
  // A numbering longer than the machine has frames would be the control domain's mistake.
  if (pages > BigInt(core.frames.frames)) return -Errno.EINVAL
  domain.maxPages = Number(pages)
  domain.p2m.grow(domain.maxPages + SPARE_SLOTS)
  return 0
}

/** Lets the domain reach register frames that the caller itself may reach, or takes them away. */
export function iomemPermission(caller: Domain, domain: Domain, u: Value<typeof xen_domctl_iomem_permission>): number {
  const first = Number(u.first_mfn)
  const frames = Number(u.nr_mfns)
  if (frames === 0 || u.first_mfn + u.nr_mfns >= 2n ** 40n) return -Errno.EINVAL
  if (u.allow_access === 0) domain.mmio.revoke(first, frames)
  else {
    for (let i = 0; i < frames; i++)
      if (!caller.mmio.allows(first + i) && !domain.mmio.allows(first + i)) return -Errno.EPERM
    domain.mmio.grant(first, frames)
  }
  return 0
}
