/** A GART in front of memory: it translates its aperture for everybody, and keeps nobody out of anything (docs/decisions/0020). */
import { describe, expect, test } from 'vitest'
import {
  ACCESS_KIND,
  DEFAULT_KIND,
  DEVICE_STATE,
  DOMID,
  Errno,
  GNTMAP,
  GNTST,
  GRANULARITY,
  GROUP_REASON,
  GTF,
  HARDWARE_KIND,
  IOMMU_FEATURE,
  IOMMU_FLAG,
  IOMMU_OP,
  LIMIT_PERMISSION,
  MAP_ELEMENT_FLAGS,
  MAP_GRANT_ELEMENT_FLAGS,
  XEN_DOMCTL,
  iommu_attach_device,
  iommu_detach_device,
  iommu_flush,
  iommu_query,
  iommu_query_device,
  iommu_set_default,
  xen_domctl,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, assignment, deviceOf, domctl, give, iommuOp, resetDevice, setLimits } from './builder.ts'
import { entryFlags, grant, mapRef, unmapRef } from './grants.ts'
import { mapGrants, mapList, page, unmapGrants, unmapList } from './lists.ts'
import { type Guest, rig } from './rig.ts'

const { ANY, WIDEN } = MAP_ELEMENT_FLAGS
const UNSAFE = { permissions: LIMIT_PERMISSION.UNSAFE_PASSTHROUGH }
/** Firmware's place for the aperture: 64 MiB in the PCI hole. */
const inAperture = (address: bigint): boolean => address >= 0x8000_0000n && address < 0xfec0_0000n

function system() {
  const r = rig({ iommu: 'gart' })
  const guest = addGuest(r)
  give(r, guest, 0, { ...UNSAFE, kind: DEFAULT_KIND.EMPTY })
  return { r, guest, ...deviceOf(r, 0) }
}

const query = (guest: Guest) => iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out
const about = (guest: Guest, device: number) =>
  iommuOp(guest, IOMMU_OP.query_device, iommu_query_device, { device }).out

describe('what it says of itself', () => {
  test('translation without blocking, isolation of interrupts, or fault reports; only read-write entries', () => {
    const { guest, sbdf } = system()
    const { hardware_kind, features, access_kinds } = query(guest)
    expect(hardware_kind).toBe(HARDWARE_KIND.GART)
    expect(access_kinds).toBe(ACCESS_KIND.READ_WRITE)
    const absent =
      IOMMU_FEATURE.BLOCKING |
      IOMMU_FEATURE.HITLESS_ATTACH |
      IOMMU_FEATURE.INTERRUPTS_ISOLATED |
      IOMMU_FEATURE.FAULT_REPORTS
    expect(features & BigInt(absent)).toBe(0n)
    expect(about(guest, sbdf)).toMatchObject({
      granularity: GRANULARITY.SHARED,
      reasons: GROUP_REASON.SHARED_UNIT,
      members: 2,
      own_members: 1,
    })
  })

  test('its northbridge is no device that a domain could have', () => {
    const { r } = system()
    expect(assignment(r.dom0, XEN_DOMCTL.assign_device, 1, 0x00c3)).toBe(-Errno.ENODEV)
    expect(r.dom0.view.configRead(0x00c3, 0, 4) >>> 0).toBe(0xffff_ffff)
  })
})

test('assignment outside dom0 needs the control domain’s unsafe passthrough (abi.md, Groups)', () => {
  const r = rig({ iommu: 'gart' })
  const guest = addGuest(r)
  const { sbdf } = deviceOf(r, 0)
  expect(setLimits(r.dom0, guest.domid, {})).toBe(0)
  expect(resetDevice(r.dom0, sbdf)).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, guest.domid, sbdf)).toBe(-Errno.EOPNOTSUPP)
  expect(setLimits(r.dom0, guest.domid, UNSAFE)).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, guest.domid, sbdf)).toBe(0)
})

test('a mirror takes no table: machine addresses pass by themselves, those of others too', () => {
  const r = rig({ iommu: 'gart' })
  const guest = addGuest(r)
  give(r, guest, 0, UNSAFE)
  const { device } = deviceOf(r, 0)
  guest.poke(9, 0, 77)
  r.dom0.poke(9, 0, 78)
  expect(device.read(guest.mfn(9) * 4096)).toBe(77)
  expect(device.read(r.dom0.mfn(9) * 4096)).toBe(78)
  expect(query(guest).table_pages).toBe(0n)
})

test('a space is the aperture: what is mapped there is translated, what is not leads nowhere of anybody’s', () => {
  const { guest, device } = system()
  guest.poke(9, 5, 42)
  const mapped = mapList(guest, 0, [page(guest, 9, { flags: ANY })])
  const [element] = mapped.elements
  expect(mapped.rc).toBe(0)
  expect(inAperture(element!.io_address)).toBe(true)
  expect(device.read(Number(element!.io_address) + 5)).toBe(42)
  expect(unmapList(guest, 0, [{ io_address: element!.io_address, pages: 1n }]).rc).toBe(0)
  expect(device.write(Number(element!.io_address) + 5, 7)).toBe(DmaOutcome.translated)
  expect(guest.peek(9, 5)).toBe(42)
})

test('there is one table: the second space is −ENOSPC (abi.md 3)', () => {
  const { r, guest } = system()
  expect(mapList(guest, 0, [page(guest, 9, { flags: ANY })]).rc).toBe(0)
  const other = addGuest(r)
  expect(setLimits(r.dom0, other.domid, { ...UNSAFE, kind: DEFAULT_KIND.EMPTY, pinned: 8, tablePages: 8 })).toBe(0)
  const { sbdf } = deviceOf(r, 1)
  expect(resetDevice(r.dom0, sbdf)).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, other.domid, sbdf)).toBe(-Errno.ENOSPC)
})

test('an access that no entry expresses is −EACCES without WIDEN, and told with it (abi.md, map)', () => {
  const { guest } = system()
  const asked = (flags: number) => mapList(guest, 0, [{ ...page(guest, 9, { flags }), access: 1 }])
  expect(asked(ANY).rc).toBe(-Errno.EACCES)
  const { rc, elements } = asked(ANY | WIDEN)
  expect([rc, elements[0]!.granted]).toEqual([0, 3])
})

test('a read-only grant is read-write for a device that reaches all memory anyway, and pinned as read-only', () => {
  const { r, guest } = system()
  const ref = 3
  grant(r.dom0, ref, guest.domid, 9, GTF.permit_access | GTF.readonly)
  const element = { domid: 0, ref, access: 1, flags: MAP_GRANT_ELEMENT_FLAGS.ANY | MAP_GRANT_ELEMENT_FLAGS.WIDEN }
  const { rc, elements } = mapGrants(guest, 0, [element])
  expect([rc, elements[0]!.granted]).toEqual([0, 3])
  expect(entryFlags(r.dom0, ref) & (GTF.reading | GTF.writing)).toBe(GTF.reading)
  const { handle } = elements[0]!
  expect(unmapGrants(guest, 0, [handle]).rc).toBe(0)
  expect(entryFlags(r.dom0, ref) & GTF.reading).toBe(0)
})

test('the same for the device half of a grant map: granted read-only, it is pinned and ended as read-only', () => {
  const { r, guest, device } = system()
  const ref = 3
  grant(r.dom0, ref, guest.domid, 9, GTF.permit_access | GTF.readonly)
  r.dom0.poke(9, 0, 42)
  const { status, handle, dev_bus_addr } = mapRef(guest, {
    flags: GNTMAP.device_map | GNTMAP.readonly,
    ref,
    dom: 0,
  })
  expect([status, device.read(Number(dev_bus_addr))]).toEqual([0, 42])
  expect(entryFlags(r.dom0, ref) & (GTF.reading | GTF.writing)).toBe(GTF.reading)
  expect(unmapRef(guest, { dev_bus_addr, handle })).toBe(0)
  expect(entryFlags(r.dom0, ref) & (GTF.reading | GTF.writing)).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test('detached is fenced, because nothing is blocked here; only a reset brings the device back (abi.md 6)', () => {
  const { r, guest, device, sbdf } = system()
  expect(mapList(guest, 0, [page(guest, 9, { flags: ANY })]).rc).toBe(0)
  const detached = iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf })
  expect([detached.rc, detached.out.state]).toEqual([0, DEVICE_STATE.FENCED])
  expect(device.read(guest.mfn(9) * 4096)).toBe(DmaOutcome.masterDisabled)
  expect(iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space: 0 }).rc).toBe(0)
  expect(device.read(guest.mfn(9) * 4096)).toBe(DmaOutcome.masterDisabled)
  expect(resetDevice(r.dom0, sbdf)).toBe(0)
  guest.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(guest.mfn(9) * 4096)).toBeGreaterThanOrEqual(0)
})

test('set_default turns the natural mirror of a domain into the aperture (abi.md 22)', () => {
  const r = rig({ iommu: 'gart' })
  const guest = addGuest(r)
  give(r, guest, 0, UNSAFE)
  expect(iommuOp(guest, IOMMU_OP.set_default, iommu_set_default, { kind: DEFAULT_KIND.EMPTY }).rc).toBe(0)
  const { rc, elements } = mapList(guest, 0, [page(guest, 9, { flags: ANY })])
  expect([rc, inAperture(elements[0]!.io_address)]).toEqual([0, true])
})

test('the control domain takes a device back from a domain that it no longer trusts, and out of quarantine (abi.md, Groups)', () => {
  const { r, guest, device, sbdf } = system()
  expect(setLimits(r.dom0, guest.domid, { permissions: 0 })).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, guest.domid, sbdf)).toBe(0)
  expect(device.read(guest.mfn(9) * 4096)).toBe(DmaOutcome.masterDisabled)
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, DOMID.IO, sbdf)).toBe(0)
  expect(about(r.dom0, sbdf)).toMatchObject({ own_members: 2, state: DEVICE_STATE.FENCED })
})

test('devices of one domain are attached and detached one by one: each is fenced by itself, and nothing is moved with it', () => {
  const { r, guest, sbdf } = system()
  give(r, guest, 1, UNSAFE)
  const { sbdf: mate, device } = deviceOf(r, 1)
  const detached = iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf })
  expect([detached.rc, detached.out.members]).toEqual([0, 1])
  expect([about(guest, sbdf).state, about(guest, mate).state]).toEqual([DEVICE_STATE.FENCED, DEVICE_STATE.ATTACHED])
  expect(device.read(guest.mfn(9) * 4096)).toBe(0)
  expect(iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space: 0 })).toMatchObject({
    rc: 0,
    out: { members: 1 },
  })
})

test('a device that joins a domain whose other device is detached is attached', () => {
  const { r, guest, sbdf } = system()
  expect(iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf }).rc).toBe(0)
  give(r, guest, 1, UNSAFE)
  expect(about(guest, deviceOf(r, 1).sbdf)).toMatchObject({ space: 0, state: DEVICE_STATE.ATTACHED })
})

test('the device half of a grant map is what the device reaches, although the unit knows the guard that was there before (facts D, stale GART TLB)', () => {
  const { r, guest, device } = system()
  const ref = 3
  grant(r.dom0, ref, guest.domid, 9)
  r.dom0.poke(9, 0, 42)
  const once = () => mapRef(guest, { flags: GNTMAP.device_map, ref, dom: 0 })
  const first = once()
  expect([first.status, device.read(Number(first.dev_bus_addr))]).toEqual([0, 42])
  expect(unmapRef(guest, { dev_bus_addr: first.dev_bus_addr, handle: first.handle })).toBe(0)
  // What is not mapped leads to the scratch page, and that is known now.
  expect(device.read(Number(first.dev_bus_addr))).toBe(0)
  const second = once()
  expect([second.status, second.dev_bus_addr]).toEqual([0, first.dev_bus_addr])
  expect(device.read(Number(second.dev_bus_addr))).toBe(42)
})

test('a domain that dies leaves a device that cannot master the bus, before its memory is anybody else’s (I1, I4)', () => {
  const { r, guest, device, sbdf } = system()
  const frame = guest.mfn(9) * 4096
  expect(device.write(frame, 1)).toBeGreaterThanOrEqual(0)
  let reached = 0
  r.hypervisor.onPreempt = () => {
    if (device.write(frame, 1) !== DmaOutcome.masterDisabled) reached++
  }
  expect(domctl(r.dom0, XEN_DOMCTL.destroydomain, guest.domid, xen_domctl).rc).toBe(0)
  r.hypervisor.onPreempt = null
  expect(reached).toBe(0)
  expect(device.write(frame, 1)).toBe(DmaOutcome.masterDisabled)
  // The one table is free again.
  const heir = addGuest(r)
  give(r, heir, 0, { ...UNSAFE, kind: DEFAULT_KIND.EMPTY })
  expect(mapList(heir, 0, [page(heir, 9, { flags: ANY })]).rc).toBe(0)
  expect(about(heir, sbdf).state).toBe(DEVICE_STATE.ATTACHED)
})

test('set_default without a table left changes nothing: −ENOSPC, and the mirror is as it was', () => {
  const { r } = system()
  const other = addGuest(r)
  give(r, other, 1, UNSAFE)
  const setDefault = () => iommuOp(other, IOMMU_OP.set_default, iommu_set_default, { kind: DEFAULT_KIND.EMPTY }).rc
  expect(setDefault()).toBe(-Errno.ENOSPC)
  expect(query(other).default_kind).toBe(DEFAULT_KIND.MIRROR)
  const { device, sbdf } = deviceOf(r, 1)
  expect([about(other, sbdf).space, device.read(other.mfn(9) * 4096)]).toEqual([0, 0])
})

test('nobody takes the one table who has no device to use it, whatever the limits allow (I16)', () => {
  const r = rig({ iommu: 'gart' })
  const nobody = addGuest(r)
  setLimits(r.dom0, nobody.domid, { spaces: 4, pinned: 1024, tablePages: 512 })
  expect(iommuOp(nobody, IOMMU_OP.set_default, iommu_set_default, { kind: DEFAULT_KIND.EMPTY }).rc).toBe(0)
  expect(mapList(nobody, 0, [page(nobody, 9, { flags: ANY })]).rc).toBe(-Errno.ENOENT)
  expect(iommuOp(nobody, IOMMU_OP.flush, iommu_flush, { space: 0, flags: IOMMU_FLAG.ALL }).rc).toBe(-Errno.ENOENT)
  grant(r.dom0, 3, nobody.domid, 9)
  expect(mapRef(nobody, { flags: GNTMAP.device_map, ref: 3, dom: 0 }).status).toBe(GNTST.no_device_space)
  const guest = addGuest(r)
  give(r, guest, 0, { ...UNSAFE, kind: DEFAULT_KIND.EMPTY })
  expect(mapList(guest, 0, [page(guest, 9, { flags: ANY })]).rc).toBe(0)
})

test('a device comes back to a control domain that has confined itself meanwhile, with no device of its own', () => {
  const r = rig({ iommu: 'gart', devices: 1 })
  const guest = addGuest(r)
  give(r, guest, 0, UNSAFE)
  const setDefault = iommuOp(r.dom0, IOMMU_OP.set_default, iommu_set_default, { kind: DEFAULT_KIND.EMPTY })
  expect(setDefault.rc).toBe(0)
  const { sbdf } = deviceOf(r, 0)
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, guest.domid, sbdf)).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, DOMID.IO, sbdf)).toBe(0)
  expect(mapList(r.dom0, 0, [page(r.dom0, 9, { flags: ANY })]).rc).toBe(0)
})
