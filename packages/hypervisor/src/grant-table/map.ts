/** `GNTTABOP_map_grant_ref`: one element. Source: xen/common/grant_table.c (map_grant_ref); statuses as real Xen 4.17 answers. */
import { DEFAULT_KIND, GNTMAP, GNTST, SPACE_DEFAULT, gnttab_map_grant_ref as map } from '@iospace/abi'
import type { Call } from '../call.ts'
import { demandDefault } from '../io-space/default-space.ts'
import { mapDeviceGrant } from '../io-space/device-grant.ts'
import { SlotKind } from '../p2m.ts'
import { Use, pinGrant, unpinGrant } from './pin.ts'

const { words } = map
const KINDS = GNTMAP.device_map | GNTMAP.host_map
const KEPT = KINDS | GNTMAP.readonly
const PAGE_BYTES = 4096

/** Maps as the element at word `at` says; writes its OUT fields. */
export function mapGrantRef(call: Call, at: number): void {
  const w = call.words
  w[at + words.status] = (w[at + words.status]! & 0xffff) | (one(call, at) << map.shifts.status)
}

function one(call: Call, at: number): number {
  const { core, caller } = call
  const w = call.words
  const flags = w[at + words.flags]!
  const ref = w[at + words.ref]! >>> 0
  const domid = w[at + words.dom]! & 0xffff
  if ((flags & KINDS) === 0) return GNTST.bad_gntref
  // Real ids only, the caller's own included: DOMID_SELF names nobody here.
  const granter = core.domains[domid]
  if (granter === undefined || granter.life === 'dead') return GNTST.bad_domain
  if (granter.dying) return GNTST.general_error
  const { maptrack } = caller
  const handle = maptrack.allocate()
  if (handle < 0) return GNTST.no_space
  const readonly = (flags & GNTMAP.readonly) !== 0
  const use = ((flags & GNTMAP.host_map) === 0 ? 0 : Use.host) | ((flags & GNTMAP.device_map) === 0 ? 0 : Use.device)
  let status = pinGrant(core, granter, ref, caller, readonly, use)
  if (status !== GNTST.okay) {
    maptrack.free(handle)
    return status
  }
  const index = granter.grants.frame[ref]!
  const pfn = hostSlot(w[at + words.host_addr]!, w[at + words.host_addr + 1]!)
  if ((use & Use.host) !== 0 && !caller.p2m.vacant(pfn)) status = GNTST.general_error
  let ioPage = -1
  if (status === GNTST.okay && caller.mirror !== null) {
    // Whatever is mapped, devices of a mirror reach it: as in Xen.
    if (granter !== caller && !caller.mirror.addGrant(index, readonly)) status = GNTST.general_error
  } else if (
    status === GNTST.okay &&
    (use & Use.device) !== 0 &&
    core.driver !== null &&
    caller.defaultKind === DEFAULT_KIND.EMPTY
  ) {
    ioPage =
      demandDefault(core, caller) === 0 ? mapDeviceGrant(core, caller.spaces.get(SPACE_DEFAULT)!, index, readonly) : -1
    if (ioPage < 0) status = GNTST.no_device_space
  }
  if (status !== GNTST.okay) {
    unpinGrant(core, granter, ref, readonly, use)
    maptrack.free(handle)
    return status
  }
  if ((use & Use.host) !== 0) caller.p2m.set(pfn, index, readonly ? SlotKind.grantReadonly : SlotKind.grant)
  maptrack.domid[handle] = domid
  maptrack.ref[handle] = ref
  maptrack.flags[handle] = flags & KEPT
  maptrack.pfn[handle] = pfn
  maptrack.ioPage[handle] = ioPage
  w[at + words.handle] = handle
  const page = ioPage >= 0 ? ioPage : core.mfn(index)
  w[at + words.dev_bus_addr] = page << 12
  w[at + words.dev_bus_addr + 1] = page >>> 20
  core.books.grantMapsMade++
  return GNTST.okay
}

/** Slot that guest address (`lo`, `hi`) names, or −1. Low bits are ignored, as in Xen. */
export function hostSlot(lo: number, hi: number): number {
  return hi >>> 11 !== 0 ? -1 : (hi * 2 ** 32 + (lo >>> 0) - (lo & (PAGE_BYTES - 1))) / PAGE_BYTES
}
