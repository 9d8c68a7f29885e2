/** A Calgary in front of memory: one table for each bus, no fault interrupt, memory that it lets pass (docs/decisions/0020). */
import { describe, expect, test } from 'vitest'
import {
  ACCESS_KIND,
  ATTACH_DEVICE_FLAGS,
  DEFAULT_KIND,
  DETACH_DEVICE_FLAGS,
  DEVICE_STATE,
  DOMID,
  Errno,
  FAULT_FLAGS,
  GRANULARITY,
  GROUP_REASON,
  HARDWARE_KIND,
  IOMMU_FEATURE,
  IOMMU_FLAG,
  IOMMU_OP,
  MAP_ELEMENT_FLAGS,
  SPACE_NONE,
  XEN_DOMCTL,
  iommu_attach_device,
  iommu_create_space,
  iommu_detach_device,
  iommu_fault_control,
  iommu_fault_record,
  iommu_query,
  iommu_query_device,
  iommu_set_fault_ring,
} from '@iospace/abi'
import { Config, DmaOutcome, type Machine } from '@iospace/machine'
import { addGuest, assignment, deviceOf, give, iommuOp, resetDevice, setLimits } from './builder.ts'
import { mapList, page, unmapList } from './lists.ts'
import { CALGARY_BOARD, type Guest, rig, type Rig, TestDevice } from './rig.ts'

const { ANY, WIDEN } = MAP_ELEMENT_FLAGS
/** A table for 4 GiB of addresses, besides small ones. */
const LIMITS = { tablePages: 4096 }

const board = (before?: (machine: Machine) => TestDevice[]): Rig =>
  rig({ iommu: 'calgary', ...CALGARY_BOARD, ...(before === undefined ? {} : { before }) })

function system(kind: number = DEFAULT_KIND.EMPTY) {
  const r = board()
  const guest = addGuest(r)
  give(r, guest, 0, { ...LIMITS, kind })
  return { r, guest, ...deviceOf(r, 0) }
}

const about = (guest: Guest, device: number) =>
  iommuOp(guest, IOMMU_OP.query_device, iommu_query_device, { device }).out

describe('what it says of itself', () => {
  test('blocking by bus, no isolation of interrupts, no write-only entries, 32 bits of address', () => {
    const { guest, sbdf } = system()
    const { hardware_kind, features, access_kinds, address_width } = iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out
    expect([hardware_kind, address_width]).toEqual([HARDWARE_KIND.CALGARY, 32])
    expect(access_kinds).toBe(ACCESS_KIND.READ | ACCESS_KIND.READ_WRITE)
    expect(features & BigInt(IOMMU_FEATURE.BLOCKING)).toBe(BigInt(IOMMU_FEATURE.BLOCKING))
    expect(features & BigInt(IOMMU_FEATURE.INTERRUPTS_ISOLATED | IOMMU_FEATURE.HITLESS_ATTACH)).toBe(0n)
    expect(about(guest, sbdf)).toMatchObject({ granularity: GRANULARITY.BUS, members: 1, address_width: 32 })
  })
})

test('functions of one bus are one group, with one owner (abi.md, Groups)', () => {
  const r = board((machine) => [machine.pci.add(1, 1, new TestDevice(machine)) as TestDevice])
  const guest = addGuest(r)
  const { sbdf } = deviceOf(r, 0)
  setLimits(r.dom0, guest.domid, LIMITS)
  resetDevice(r.dom0, sbdf)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, guest.domid, sbdf)).toBe(-Errno.EXDEV)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, DOMID.IO, sbdf | 1)).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, guest.domid, sbdf)).toBe(0)
  expect(about(guest, sbdf)).toMatchObject({ members: 2, own_members: 1, reasons: GROUP_REASON.SAME_BUS })
})

describe('what a device reaches', () => {
  test('in a mirror its domain’s memory, at machine addresses; nobody else’s', () => {
    const { r, guest, device } = system(DEFAULT_KIND.MIRROR)
    guest.poke(9, 0, 5)
    expect(device.read(guest.mfn(9) * 4096)).toBe(5)
    expect(device.read(r.dom0.mfn(9) * 4096)).toBe(DmaOutcome.blocked)
    expect(device.write(r.dom0.mfn(9) * 4096, 1)).toBe(DmaOutcome.blocked)
  })

  test('in a space what is mapped, until it is unmapped: the blast is complete before the call returns', () => {
    const { guest, device } = system()
    guest.poke(9, 0, 5)
    const { rc, elements } = mapList(guest, 0, [page(guest, 9, { flags: ANY })])
    const address = Number(elements[0]!.io_address)
    expect([rc, device.read(address), device.write(address, 6), guest.peek(9, 0)]).toEqual([
      0,
      5,
      DmaOutcome.translated,
      6,
    ])
    expect(unmapList(guest, 0, [{ io_address: elements[0]!.io_address, pages: 1n }]).rc).toBe(0)
    expect(device.write(address, 7)).toBe(DmaOutcome.blocked)
    expect(guest.peek(9, 0)).toBe(6)
  })

  test('a page that is only written is −EACCES without WIDEN (TCE has no write-only)', () => {
    const { guest } = system()
    const asked = (flags: number) => mapList(guest, 0, [{ ...page(guest, 9, { flags }), access: 2 }])
    expect(asked(ANY).rc).toBe(-Errno.EACCES)
    expect([asked(ANY | WIDEN).rc, asked(ANY | WIDEN).elements[0]!.granted]).toEqual([0, 3])
  })
})

test('memory at addresses that pass untranslated is nobody’s, and no space has such an address', () => {
  const { r, guest } = system()
  for (let mfn = 0xa0; mfn < 0x100; mfn++) expect(r.hypervisor.oracle.frame(mfn)?.owner).toBe(DOMID.XEN)
  expect(r.hypervisor.oracle.iommuFrames().filter((mfn) => mfn >= 0xa0 && mfn < 0x100)).toEqual([])
  expect(mapList(guest, 0, [page(guest, 9, { io_address: 0xa_0000n })]).rc).toBe(-Errno.EADDRNOTAVAIL)
  expect(mapList(guest, 0, [page(guest, 9, { io_address: 0x10_0000n })]).rc).toBe(0)
})

test('tables in one piece are charged, and come back whole when their space goes', () => {
  const { r, guest, sbdf } = system(DEFAULT_KIND.MIRROR)
  const create = () =>
    iommuOp(guest, IOMMU_OP.create_space, iommu_create_space, {
      device_count: 1,
      devices: [sbdf, ...Array<number>(15).fill(0)],
      window_end: 0x3ff_ffffn,
    })
  const before = iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out.table_pages
  const { rc } = create()
  // 64 MiB of addresses: 16384 entries of 8 bytes.
  expect([rc, iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out.table_pages - before]).toEqual([0, 32n])
  setLimits(r.dom0, guest.domid, { tablePages: Number(before) + 63 })
  expect(create().rc).toBe(-Errno.ENOMEM)
})

test('ALL_OR_NOTHING asks for no table page where tables are flat: a quota of just one table is enough', () => {
  const { r, guest } = system()
  const { table_pages } = iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out
  setLimits(r.dom0, guest.domid, { tablePages: Number(table_pages) })
  const list = [page(guest, 9, { flags: ANY }), page(guest, 10, { flags: ANY })]
  expect(mapList(guest, 0, list, { flags: IOMMU_FLAG.ALL_OR_NOTHING })).toMatchObject({ rc: 0, done: 2 })
})

/** One function of a bus for the guest, the one before it in quarantine. */
function sharedBus() {
  const r = board((machine) => [machine.pci.add(1, 1, new TestDevice(machine)) as TestDevice])
  const guest = addGuest(r)
  const mate = r.devices[0]!
  const index = r.devices.length - 1
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, DOMID.IO, mate.bdf)).toBe(0)
  give(r, guest, index, LIMITS)
  return { r, guest, mate, ...deviceOf(r, index) }
}

function setRing(guest: Guest): void {
  guest.putU64([guest.mfn(21)])
  const { rc } = iommuOp(guest, IOMMU_OP.set_fault_ring, iommu_set_fault_ring, {
    control_gfn: BigInt(guest.mfn(20)),
    gfns: { array: BigInt(guest.list), count: 1, stride: 8 },
  })
  expect(rc).toBe(0)
}

test('functions of one bus switch together: others attached elsewhere need WHOLE_GROUP (abi.md, attach_device)', () => {
  const { r, guest, sbdf, device } = sharedBus()
  const index = 0
  give(r, guest, index, LIMITS)
  const { sbdf: mate, device: other } = deviceOf(r, index)
  const { space } = iommuOp(guest, IOMMU_OP.create_space, iommu_create_space, {
    device_count: 1,
    devices: [sbdf, ...Array<number>(15).fill(0)],
    window_end: 0x3ff_ffffn,
  }).out
  const attach = (flags: number) =>
    iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space, flags })
  const detach = (flags: number) => iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: sbdf, flags })
  const frame = guest.mfn(9) * 4096
  expect([device.read(frame), other.read(frame)]).toEqual([0, 0])
  expect(attach(0).rc).toBe(-Errno.EBUSY)
  expect(attach(ATTACH_DEVICE_FLAGS.WHOLE_GROUP)).toMatchObject({ rc: 0, out: { members: 2 } })
  expect([about(guest, sbdf).space, about(guest, mate).space]).toEqual([space, space])
  expect([device.read(frame), other.read(frame)]).toEqual([DmaOutcome.blocked, DmaOutcome.blocked])
  expect(detach(0).rc).toBe(-Errno.EBUSY)
  expect(detach(DETACH_DEVICE_FLAGS.WHOLE_GROUP)).toMatchObject({
    rc: 0,
    out: { members: 2, state: DEVICE_STATE.BLOCKED },
  })
  expect(about(guest, mate)).toMatchObject({ space: SPACE_NONE, state: DEVICE_STATE.BLOCKED })
  // One that is given back alone is kept off the bus by itself; the other one's translation stays.
  expect(attach(0)).toMatchObject({ rc: 0, out: { members: 2 } })
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, guest.domid, mate)).toBe(0)
  expect(mapList(guest, space, [page(guest, 9, { io_address: 0x10_0000n })]).rc).toBe(0)
  expect([device.read(0x10_0000), other.read(0x10_0000)]).toEqual([0, DmaOutcome.masterDisabled])
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, DOMID.IO, mate)).toBe(-Errno.EXDEV)
})

test('a machine without memory in one piece for its tables is told so', () => {
  expect(() => rig({ iommu: 'calgary', lowFrames: 2048, highFrames: 0 })).toThrow(/in one piece/)
})

test('a storm on a bus is told to who has it, and cut off, although another function of the bus is in quarantine (I20)', async () => {
  const { r, guest, device, sbdf } = sharedBus()
  setRing(guest)
  const foreign = r.dom0.mfn(9) * 4096
  let outcome = 0
  guest.view.tasks.spawn('storm', async () => {
    // One error a look is all that the bridge tells.
    for (let i = 0; i < 400 && outcome !== DmaOutcome.masterDisabled; i++) {
      outcome = device.write(foreign, 1)
      await r.machine.scheduler.sleep(5e6)
    }
  })
  await r.machine.scheduler.run()
  const { producer } = guest.get(iommu_fault_control, 20 * 4096)
  expect([producer, outcome]).toEqual([64, DmaOutcome.masterDisabled])
  expect(guest.get(iommu_fault_record, 21 * 4096).device).toBe(sbdf)
})

test('a fault after a doorbell is noticed, although nothing else has happened for long', async () => {
  const { r, guest, device, sbdf } = system(DEFAULT_KIND.MIRROR)
  setRing(guest)
  const bar = guest.view.configRead(sbdf, Config.bar0, 4) & ~0xf
  const { scheduler } = r.machine
  guest.view.tasks.spawn('wait', () => scheduler.queue('what never comes').wait())
  expect((await scheduler.run()).kind).toBe('stuck')
  // No hypercall from here on.
  guest.view.write32(bar >>> 0, 1)
  expect(device.write(r.dom0.mfn(9) * 4096, 1)).toBe(DmaOutcome.blocked)
  await scheduler.run()
  expect(guest.get(iommu_fault_control, 20 * 4096).producer).toBe(1)
})

test('a fault that no interrupt announces reaches the ring of whoever owns the bus, without an address', async () => {
  const { r, guest, device, sbdf } = system(DEFAULT_KIND.MIRROR)
  setRing(guest)
  expect(device.write(r.dom0.mfn(9) * 4096, 1)).toBe(DmaOutcome.blocked)
  guest.view.tasks.spawn('wait', () => r.machine.scheduler.sleep(20e6))
  await r.machine.scheduler.run()
  expect(guest.get(iommu_fault_control, 20 * 4096).producer).toBe(1)
  const { device: named, flags } = guest.get(iommu_fault_record, 21 * 4096)
  expect([named, flags & FAULT_FLAGS.ADDRESS_VALID]).toEqual([sbdf, 0])
  expect(r.hypervisor.snapshot().spuriousInterrupts).toBe(0)
})
