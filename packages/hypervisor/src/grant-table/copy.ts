/** `GNTTABOP_copy`: one element. Source: xen/common/grant_table.c (gnttab_copy_one); statuses as real Xen 4.17 answers. */
import { Count, PAGE_SIZE } from '@iospace/machine'
import { DOMID, GNTCOPY, GNTST, gnttab_copy as copy } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { Use, pinGrant, unpinGrant } from './pin.ts'

const { words, shifts } = copy

/** One side of a copy, with what it holds. */
interface Side {
  granter: Domain | null
  ref: number
  index: number
}

/** Copies as the element at word `at` says; writes its status. */
export function copyElement(call: Call, at: number): void {
  const w = call.words
  const status = one(call, at)
  w[at + words.status] = (w[at + words.status]! & ~(0xffff << shifts.status)) | ((status & 0xffff) << shifts.status)
}

function one(call: Call, at: number): number {
  const { core } = call
  const w = call.words
  const flags = (w[at + words.flags]! >>> shifts.flags) & 0xffff
  const length = (w[at + words.len]! >>> shifts.len) & 0xffff
  const from = domainOf(call, w[at + words['source.domid']]! & 0xffff, (flags & GNTCOPY.source_gref) !== 0)
  if (typeof from === 'number') return from
  const to = domainOf(call, w[at + words['dest.domid']]! & 0xffff, (flags & GNTCOPY.dest_gref) !== 0)
  if (typeof to === 'number') return to
  const fromOffset = (w[at + words['source.offset']]! >>> shifts['source.offset']) & 0xffff
  const toOffset = (w[at + words['dest.offset']]! >>> shifts['dest.offset']) & 0xffff
  const source: Side = { granter: null, ref: 0, index: -1 }
  const status = claim(
    call,
    from,
    (flags & GNTCOPY.source_gref) !== 0,
    w[at + words['source.u']]!,
    w[at + words['source.u'] + 1]!,
    true,
    source,
  )
  if (status !== GNTST.okay) return status
  const dest: Side = { granter: null, ref: 0, index: -1 }
  const claimed = claim(
    call,
    to,
    (flags & GNTCOPY.dest_gref) !== 0,
    w[at + words['dest.u']]!,
    w[at + words['dest.u'] + 1]!,
    false,
    dest,
  )
  if (claimed !== GNTST.okay) {
    letGo(call, source, true)
    return claimed
  }
  const fits = fromOffset + length <= PAGE_SIZE && toOffset + length <= PAGE_SIZE
  if (fits) {
    core.guest.copyBetween(source.index, fromOffset, dest.index, toOffset, length)
    core.clock.charge(Count.guestCopyByte, length)
  }
  letGo(call, dest, false)
  letGo(call, source, true)
  return fits ? GNTST.okay : GNTST.bad_copy_arg
}

/** Only DOMID_SELF may name a frame; a reference may be anybody's. */
function domainOf(call: Call, domid: number, byReference: boolean): Domain | number {
  if (domid !== DOMID.SELF && !byReference) return GNTST.permission_denied
  const domain = call.core.find(call.caller, domid)
  if (domain === undefined) return GNTST.bad_domain
  return domain.dying ? GNTST.general_error : domain
}

function claim(
  call: Call,
  domain: Domain,
  byReference: boolean,
  lo: number,
  hi: number,
  readonly: boolean,
  side: Side,
): number {
  const { core, caller } = call
  if (byReference) {
    const ref = lo >>> 0
    const status = pinGrant(core, domain, ref, caller, readonly, Use.host)
    if (status !== GNTST.okay) return status
    side.granter = domain
    side.ref = ref
    side.index = domain.grants.frame[ref]!
    return GNTST.okay
  }
  const index = hi === 0 ? core.memory.frameIndex(lo >>> 0) : -1
  if (!core.frames.get(index, domain.domid)) return GNTST.bad_page
  if (!readonly && !core.frames.getWritable(index)) {
    core.frames.put(index)
    return GNTST.general_error
  }
  side.index = index
  return GNTST.okay
}

function letGo({ core }: Call, side: Side, readonly: boolean): void {
  if (side.granter !== null) unpinGrant(core, side.granter, side.ref, readonly, Use.host)
  else {
    if (!readonly) core.frames.putWritable(side.index)
    core.frames.put(side.index)
  }
}
