import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DOMID,
  EVTCHNOP,
  Errno,
  FAULT_FLAGS,
  FAULT_REASON,
  IOMMU_OP,
  SPACE_NONE,
  VIRQ,
  XENMEM,
  evtchn_bind_virq,
  iommu_detach_device,
  iommu_fault_control,
  iommu_fault_record,
  iommu_set_fault_ring,
  shared_info,
  xen_add_to_physmap,
  xen_memory_reservation,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, deviceOf, give, iommuOp, resetDevice } from './builder.ts'
import { mapList, page } from './lists.ts'
import { type Guest, rig } from './rig.ts'

const CONTROL = 40
const RECORDS = 41

function setRing(guest: Guest, pages: number, value: object = {}): number {
  guest.putU64(Array.from({ length: pages }, (_, i) => guest.mfn(RECORDS + i)))
  return iommuOp(guest, IOMMU_OP.set_fault_ring, iommu_set_fault_ring, {
    control_gfn: BigInt(guest.mfn(CONTROL)),
    gfns: { array: BigInt(guest.list), count: pages, stride: 8 },
    ...value,
  }).rc
}

function system() {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY })
  const { device, sbdf } = deviceOf(r, 0)
  return { r, guest, device, sbdf, faults: () => r.hypervisor.snapshot().faults }
}

const control = (guest: Guest) => guest.get(iommu_fault_control, CONTROL * 4096)
const record = (guest: Guest, i: number) =>
  guest.get(iommu_fault_record, (RECORDS + Math.floor(i / 64)) * 4096 + (i % 64) * 64)
/** Lets the unit's interrupt arrive. */
const settle = (guest: Guest): void => {
  for (let i = 0; i < 200; i++) guest.view.relax()
}

test("a fault arrives in the owner's ring, with reason, address and device, and raises VIRQ_IOMMU_FAULT (abi.md, Faults; I20)", () => {
  const { r, guest, device, sbdf } = system()
  expect(setRing(guest, 1)).toBe(0)
  const port = guest.op('event_channel_op', EVTCHNOP.bind_virq, evtchn_bind_virq, { virq: VIRQ.IOMMU_FAULT }).out.port
  const gpfn = guest.view.memory.pages - 2
  guest.op('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, { domid: DOMID.SELF, gpfn: BigInt(gpfn) })
  mapList(guest, 0, [page(guest, 10, { io_address: 0x5000n, access: 1 })])
  expect(device.write(0x5008, 1)).toBe(DmaOutcome.blocked)
  settle(guest)
  expect(control(guest)).toMatchObject({ producer: 1, lost: 0 })
  expect(record(guest, 0)).toMatchObject({
    sequence: 0,
    reason: FAULT_REASON.NOT_WRITABLE,
    flags: FAULT_FLAGS.WRITE | FAULT_FLAGS.ADDRESS_VALID | FAULT_FLAGS.EXACT_REQUESTER,
    domid: guest.domid,
    device: sbdf,
    space: 0,
    io_address: 0x5000n,
  })
  expect(record(guest, 0).hw_reason).toBeGreaterThan(0)
  const pending = guest.view.memory.view.getUint32(guest.offset(gpfn * 4096 + shared_info.offsets.evtchn_pending), true)
  expect(pending & (1 << port)).not.toBe(0)
  device.read(0x7_7000)
  settle(guest)
  expect(record(guest, 1)).toMatchObject({ sequence: 1, reason: FAULT_REASON.NOT_MAPPED, io_address: 0x7_7000n })
  expect(record(guest, 1).flags & FAULT_FLAGS.READ).toBe(FAULT_FLAGS.READ)
  expect(r.hypervisor.snapshot().faults).toMatchObject({ reported: 2, lost: 0, unowned: 0 })
})

test('a full ring counts what it loses, and goes on when the guest has read (abi.md, Faults; I22)', () => {
  const { guest, device, faults } = system()
  expect(setRing(guest, 1)).toBe(0)
  for (let i = 0; i < 40; i++) {
    device.read(0x10_0000 + i * 4096)
    settle(guest)
  }
  expect(control(guest)).toMatchObject({ producer: 40, lost: 0 })
  // A consumer index that makes no sense counts as full.
  guest.view.memory.view.setUint32(
    guest.offset(CONTROL * 4096 + iommu_fault_control.offsets.consumer),
    0x9000_0000,
    true,
  )
  device.read(0x20_0000)
  settle(guest)
  expect(control(guest)).toMatchObject({ producer: 40, lost: 1 })
  guest.view.memory.view.setUint32(guest.offset(CONTROL * 4096 + iommu_fault_control.offsets.consumer), 40, true)
  // The producer is the hypervisor's: what the guest writes there is not believed.
  guest.view.memory.view.setUint32(guest.offset(CONTROL * 4096), 7, true)
  device.read(0x30_0000)
  settle(guest)
  expect(control(guest)).toMatchObject({ producer: 41, lost: 1 })
  expect(record(guest, 40)).toMatchObject({ sequence: 41, io_address: 0x30_0000n })
  expect(faults()).toMatchObject({ reported: 41, lost: 1 })
})

test("a blocked device's fault says so; a quarantined one's is nobody's", () => {
  const { r, guest, device, sbdf } = system()
  expect(setRing(guest, 1)).toBe(0)
  expect(iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf }).rc).toBe(0)
  device.read(0x1000)
  settle(guest)
  expect(record(guest, 0)).toMatchObject({ reason: FAULT_REASON.BLOCKED, space: SPACE_NONE })
  expect(r.hypervisor.snapshot().faults).toMatchObject({ reported: 1, unowned: 0 })
})

test('a storm: reports are cut off, then bus mastering, and the other devices go on (abi.md, Faults; I20)', () => {
  const { r, guest, device, sbdf, faults } = system()
  const other = addGuest(r)
  give(r, other, 1, { kind: DEFAULT_KIND.EMPTY })
  expect(setRing(guest, 4)).toBe(0)
  expect(setRing(other, 1)).toBe(0)
  let outcome = 0
  for (let i = 0; i < 1000 && outcome !== DmaOutcome.masterDisabled; i++) {
    outcome = device.read(0x10_0000 + i * 4096)
    settle(guest)
  }
  expect(outcome).toBe(DmaOutcome.masterDisabled)
  const { producer } = control(guest)
  expect(producer).toBe(64)
  expect(record(guest, 63).flags & FAULT_FLAGS.REPEATED).toBe(FAULT_FLAGS.REPEATED)
  expect(faults().suppressed).toBeGreaterThan(0)
  guest.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(0)).toBe(DmaOutcome.masterDisabled)
  deviceOf(r, 1).device.read(0x9000)
  settle(other)
  expect(control(other).producer).toBe(1)
  // Only a reset by the control domain ends the fence; a reset by the guest does not.
  const express = device.config.findCapability(0x10)
  guest.view.configWrite(sbdf, express + 8, 2, 0x8000)
  guest.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(0)).toBe(DmaOutcome.masterDisabled)
  expect(resetDevice(r.dom0, sbdf)).toBe(0)
  guest.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(0x10_0000)).toBe(DmaOutcome.blocked)
  settle(guest)
  expect(control(guest).producer).toBe(65)
})

test('records that the unit lost are told with the next one, to everybody behind it (abi.md, Faults: lost-before)', () => {
  const { r, guest, device } = system()
  const other = addGuest(r)
  give(r, other, 1, { kind: DEFAULT_KIND.EMPTY })
  for (const one of [guest, other]) expect(setRing(one, 1)).toBe(0)
  // More than the unit has room for, while the hypervisor is busy.
  r.machine.interrupts.hold()
  for (let i = 0; i < 20; i++) device.read(0x10_0000 + i * 4096)
  r.machine.interrupts.release()
  settle(guest)
  const { producer } = control(guest)
  expect(producer).toBeLessThan(20)
  device.read(0x20_0000)
  deviceOf(r, 1).device.read(0x20_0000)
  settle(guest)
  const lost = (one: Guest, i: number) => record(one, i).flags & FAULT_FLAGS.LOST_BEFORE
  expect(Array.from({ length: producer + 1 }, (_, i) => lost(guest, i)).filter((flag) => flag !== 0)).toHaveLength(1)
  expect(lost(other, 0)).toBe(FAULT_FLAGS.LOST_BEFORE)
  deviceOf(r, 1).device.read(0x20_0000)
  settle(guest)
  expect(lost(other, 1)).toBe(0)
})

test('reasons are what the hypervisor knows of the address, whatever the unit says', () => {
  const { guest, device } = system()
  expect(setRing(guest, 1)).toBe(0)
  mapList(guest, 0, [page(guest, 10, { io_address: 0x5000n, access: 2 })])
  device.read(0x5000)
  settle(guest)
  device.read(2 ** 45)
  settle(guest)
  expect([0, 1].map((i) => record(guest, i).reason)).toEqual([FAULT_REASON.NOT_READABLE, FAULT_REASON.OUT_OF_RANGE])
})

test("set_fault_ring: a power of two of distinct frames of the caller's, held with a writable type (abi.md 14)", () => {
  const { r, guest } = system()
  expect(setRing(guest, 3)).toBe(-Errno.EINVAL)
  expect(setRing(guest, 2, { control_gfn: BigInt(guest.mfn(RECORDS)) })).toBe(-Errno.EINVAL)
  expect(setRing(guest, 2, { control_gfn: BigInt(r.dom0.mfn(20)) })).toBe(-Errno.ENXIO)
  expect(setRing(guest, 2, { control_gfn: 2n ** 60n })).toBe(-Errno.ENXIO)
  expect(r.hypervisor.snapshot().references).toBe(0)
  expect(setRing(guest, 2)).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(6)
  expect(setRing(guest, 4)).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(10)
  // A frame of the ring that is given back stays until the ring lets it go.
  const frame = guest.mfn(CONTROL)
  guest.putU64([frame])
  guest.op('memory_op', XENMEM.decrease_reservation, xen_memory_reservation, {
    extent_start: BigInt(guest.list),
    nr_extents: 1n,
    domid: DOMID.SELF,
  })
  expect(r.hypervisor.oracle.frame(frame)).toMatchObject({ owner: guest.domid, typeCount: 1 })
  expect(iommuOp(guest, IOMMU_OP.set_fault_ring, iommu_set_fault_ring, { control_gfn: 1n }).rc).toBe(-Errno.EINVAL)
  expect(iommuOp(guest, IOMMU_OP.set_fault_ring, iommu_set_fault_ring, {}).rc).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(0)
  expect(r.hypervisor.oracle.frame(frame)).toMatchObject({ owner: -1 })
})
