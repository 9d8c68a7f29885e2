/** The grant table from a test guest's side: entries written in the order of the protocol, operations by list. */
import {
  DOMID,
  GNTTABOP,
  GTF,
  HYPERCALL,
  XENMAPSPACE,
  XENMEM,
  gnttab_copy,
  gnttab_map_grant_ref,
  gnttab_unmap_grant_ref,
  grant_entry_v1,
  xen_add_to_physmap,
} from '@iospace/abi'
import type { ValueOf } from '@iospace/wire'
import type { Guest } from './rig.ts'

/** Where the first grant frame is mapped: the last spare slot. */
const grantPfn = (guest: Guest): number => guest.view.memory.pages - 1

export function mapGrantFrame(guest: Guest): void {
  if (guest.view.memory.frameOffset(grantPfn(guest)) >= 0) return
  const { rc } = guest.op('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, {
    domid: DOMID.SELF,
    space: XENMAPSPACE.grant_table,
    gpfn: BigInt(grantPfn(guest)),
  })
  if (rc !== 0) throw new Error(`grant frame: ${rc}`)
}

const entryAt = (guest: Guest, ref: number): number => guest.offset(grantPfn(guest) * 4096 + ref * grant_entry_v1.size)

/** Grants page `pfn` to `domid`. */
export function grant(guest: Guest, ref: number, domid: number, pfn: number, flags: number = GTF.permit_access): void {
  grantFrame(guest, ref, domid, guest.mfn(pfn), flags)
}

export function grantFrame(
  guest: Guest,
  ref: number,
  domid: number,
  frame: number,
  flags: number = GTF.permit_access,
): void {
  mapGrantFrame(guest)
  grant_entry_v1.write(guest.view.memory.view, entryAt(guest, ref), { domid, frame, flags: 0 })
  grant_entry_v1.write(guest.view.memory.view, entryAt(guest, ref), { domid, frame, flags })
}

export function entryFlags(guest: Guest, ref: number): number {
  return grant_entry_v1.read(guest.view.memory.view, entryAt(guest, ref)).flags
}

export function setEntry(guest: Guest, ref: number, value: Partial<ValueOf<typeof grant_entry_v1.fields>>): void {
  const at = entryAt(guest, ref)
  grant_entry_v1.write(guest.view.memory.view, at, { ...grant_entry_v1.read(guest.view.memory.view, at), ...value })
}

type Map = ValueOf<typeof gnttab_map_grant_ref.fields>
type Unmap = ValueOf<typeof gnttab_unmap_grant_ref.fields>
type Copy = ValueOf<typeof gnttab_copy.fields>

export function mapRefs(guest: Guest, list: readonly Partial<Map>[]): { rc: number; out: Map[] } {
  list.forEach((value, i) =>
    guest.put(gnttab_map_grant_ref, { ...gnttab_map_grant_ref.zero(), ...value }, guest.list + i * 32),
  )
  const rc = guest.call(HYPERCALL.grant_table_op, GNTTABOP.map_grant_ref, guest.list, list.length)
  return { rc, out: list.map((_, i) => guest.get(gnttab_map_grant_ref, guest.list + i * 32)) }
}

export function mapRef(guest: Guest, value: Partial<Map>): Map {
  return mapRefs(guest, [value]).out[0]!
}

export function unmapRefs(guest: Guest, list: readonly Partial<Unmap>[]): { rc: number; out: Unmap[] } {
  list.forEach((value, i) =>
    guest.put(gnttab_unmap_grant_ref, { ...gnttab_unmap_grant_ref.zero(), ...value }, guest.list + i * 24),
  )
  const rc = guest.call(HYPERCALL.grant_table_op, GNTTABOP.unmap_grant_ref, guest.list, list.length)
  return { rc, out: list.map((_, i) => guest.get(gnttab_unmap_grant_ref, guest.list + i * 24)) }
}

export function unmapRef(guest: Guest, value: Partial<Unmap>): number {
  return unmapRefs(guest, [value]).out[0]!.status
}

export function copyRef(
  guest: Guest,
  value: { source?: Partial<Copy['source']>; dest?: Partial<Copy['dest']>; len?: number; flags?: number },
): number {
  const zero = gnttab_copy.zero()
  guest.put(
    gnttab_copy,
    { ...zero, ...value, source: { ...zero.source, ...value.source }, dest: { ...zero.dest, ...value.dest } },
    guest.list,
  )
  guest.call(HYPERCALL.grant_table_op, GNTTABOP.copy, guest.list, 1)
  return guest.get(gnttab_copy, guest.list).status
}

/** Spare slot `i` of the guest. */
export const slot = (guest: Guest, i: number): number => guest.view.memory.pages - 100 - i
export const slotAddress = (guest: Guest, i: number): bigint => BigInt(slot(guest, i)) * 4096n
