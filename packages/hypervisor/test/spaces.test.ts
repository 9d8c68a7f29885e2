import { expect, test } from 'vitest'
import {
  ACCESS_KIND,
  ATTACH_DEVICE_FLAGS,
  CREATE_SPACE_FLAGS,
  DEFAULT_KIND,
  DESTROY_SPACE_FLAGS,
  DEVICE_STATE,
  Errno,
  FLUSH_FLAGS,
  HARDWARE_KIND,
  IOMMU_FEATURE,
  IOMMU_FLAG,
  IOMMU_OP,
  MAP_ELEMENT_FLAGS,
  SPACE_NONE,
  iommu_attach_device,
  iommu_create_space,
  iommu_destroy_space,
  iommu_detach_device,
  iommu_flush,
  iommu_query,
  iommu_query_device,
  iommu_set_default,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, deviceOf, give, iommuOp, type Limits } from './builder.ts'
import { mapList, page, unmapList } from './lists.ts'
import { type Guest, rig } from './rig.ts'

const { EINVAL, EOPNOTSUPP, EPERM, ENODEV, ENOENT, ERANGE, ENOSPC, EBUSY, EADDRINUSE } = Errno
const AT = 0x10_0000n

function system(limits: Limits = {}) {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, limits)
  const { device, sbdf } = deviceOf(r, 0)
  return { r, guest, device, sbdf }
}

const create = (guest: Guest, sbdf: number, value: object = {}) =>
  iommuOp(guest, IOMMU_OP.create_space, iommu_create_space, {
    device_count: 1,
    devices: [sbdf, ...Array<number>(15).fill(0)],
    ...value,
  })
const attach = (guest: Guest, device: number, space: number, flags = 0) =>
  iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device, space, flags })
const detach = (guest: Guest, device: number, flags = 0) =>
  iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device, flags })
const destroy = (guest: Guest, space: number, flags = 0): number =>
  iommuOp(guest, IOMMU_OP.destroy_space, iommu_destroy_space, { space, flags }).rc
const setDefault = (guest: Guest, kind: number = DEFAULT_KIND.EMPTY): number =>
  iommuOp(guest, IOMMU_OP.set_default, iommu_set_default, { kind }).rc
const about = (guest: Guest, device: number) =>
  iommuOp(guest, IOMMU_OP.query_device, iommu_query_device, { device }).out
const query = (guest: Guest) => iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out
const flush = (guest: Guest, value: object) => iommuOp(guest, IOMMU_OP.flush, iommu_flush, { space: 0, ...value })

test('query tells limits, usage and what the hardware can (abi.md 0)', () => {
  const { guest } = system({ spaces: 3, pinned: 77, tablePages: 55, deferred: 9, age: 1000 })
  expect(query(guest)).toMatchObject({
    hardware_kind: HARDWARE_KIND.VTD,
    default_kind: DEFAULT_KIND.MIRROR,
    max_spaces: 3,
    max_pinned: 77n,
    max_table_pages: 55n,
    max_deferred: 9,
    max_deferred_age: 1000n,
    spaces: 0,
    pinned: 0n,
    stuck: 0n,
  })
  const offered = IOMMU_FEATURE.DEFERRED | IOMMU_FEATURE.FAULT_REPORTS | IOMMU_FEATURE.INTERRUPTS_ISOLATED
  expect(query(guest).features & BigInt(offered)).toBe(BigInt(offered))
  expect(query(guest).access_kinds).toBe(ACCESS_KIND.READ | ACCESS_KIND.WRITE | ACCESS_KIND.READ_WRITE)
  expect(query(guest).page_sizes & 0x1000n).toBe(0x1000n)
})

test('a space is created for named devices, inside the limit, with ids that are never reissued (abi.md 3)', () => {
  const { guest, sbdf } = system({ spaces: 2 })
  const first = create(guest, sbdf, { window_start: 0x1_0000n, window_end: 0xffff_ffffn })
  expect(first).toMatchObject({ rc: 0, out: { space: 1, window_start: 0x1_0000n, window_end: 0xffff_ffffn } })
  const second = create(guest, sbdf)
  expect(second.out.space).toBe(2)
  expect(second.out.window_end + 1n).toBe(2n ** BigInt(second.out.address_width))
  expect(create(guest, sbdf).rc).toBe(-ENOSPC)
  expect(destroy(guest, 1)).toBe(0)
  expect(create(guest, sbdf).out.space).toBe(3)
  expect(destroy(guest, 1)).toBe(-ENOENT)
  const none = (value: object): number => create(guest, sbdf, value).rc
  expect(none({ device_count: 0 })).toBe(-EINVAL)
  expect(none({ device_count: 17 })).toBe(-EINVAL)
  expect(none({ devices: [sbdf, 5, ...Array<number>(14).fill(0)] })).toBe(-EINVAL)
  expect(none({ devices: [0x7f00, ...Array<number>(15).fill(0)] })).toBe(-ENODEV)
  expect(none({ window_start: 0x2000n, window_end: 0x1000n })).toBe(-EINVAL)
  expect(none({ window_start: 2n ** 60n })).toBe(-ERANGE)
  expect(none({ window_start: 0x1001n, window_end: 0x1fffn })).toBe(-ERANGE)
  expect(none({ max_mappings: 5 })).toBe(-EINVAL)
  expect(none({ page_sizes: 0x1000n })).toBe(-EINVAL)
  expect(none({ flags: CREATE_SPACE_FLAGS.DEFERRED })).toBe(-EOPNOTSUPP)
  expect(none({ flags: CREATE_SPACE_FLAGS.FORWARD_PROGRESS, max_mappings: 5 })).toBe(-EOPNOTSUPP)
  expect(query(guest).spaces).toBe(2)
})

test('a window bounds every mapping of its space', () => {
  const { guest, sbdf } = system()
  const { space } = create(guest, sbdf, { window_start: 0x8000n, window_end: 0xbfffn }).out
  const map = (value: object) => mapList(guest, space, [page(guest, 10, value)])
  expect(map({ io_address: 0x7000n }).rc).toBe(-ERANGE)
  expect(map({ io_address: 0xc000n }).rc).toBe(-ERANGE)
  const got = Array.from({ length: 4 }, () => map({ flags: MAP_ELEMENT_FLAGS.ANY }).elements[0]!.io_address)
  expect(new Set(got)).toEqual(new Set([0x8000n, 0x9000n, 0xa000n, 0xb000n]))
  expect(map({ flags: MAP_ELEMENT_FLAGS.ANY }).rc).toBe(-ENOSPC)
})

test('attach switches a device between spaces, detach blocks it, destroy wants it gone (abi.md 4–6)', () => {
  const { r, guest, device, sbdf } = system()
  const spaces = [1, 2].map(() => create(guest, sbdf).out.space) as [number, number]
  guest.poke(10, 0, 0xa1)
  guest.poke(11, 0, 0xa2)
  expect(mapList(guest, spaces[0], [page(guest, 10, { io_address: AT })]).rc).toBe(0)
  expect(mapList(guest, spaces[1], [page(guest, 11, { io_address: AT })]).rc).toBe(0)
  expect(attach(guest, sbdf, 99).rc).toBe(-ENOENT)
  expect(attach(guest, 0x7f00, spaces[0]).rc).toBe(-ENODEV)
  expect(attach(guest, sbdf, spaces[0], ATTACH_DEVICE_FLAGS.HITLESS)).toMatchObject({ rc: 0, out: { members: 1 } })
  expect(device.read(Number(AT))).toBe(0xa1)
  expect(attach(guest, sbdf, spaces[1]).rc).toBe(0)
  expect(device.read(Number(AT))).toBe(0xa2)
  expect(about(guest, sbdf)).toMatchObject({
    space: spaces[1],
    state: DEVICE_STATE.ATTACHED,
    members: 1,
    own_members: 1,
    granularity: 3,
    reasons: 0,
  })
  expect(destroy(guest, spaces[1])).toBe(-EBUSY)
  expect(destroy(guest, 0)).toBe(-EPERM)
  expect(detach(guest, sbdf)).toMatchObject({ rc: 0, out: { state: DEVICE_STATE.BLOCKED, members: 1 } })
  expect(device.read(Number(AT))).toBe(DmaOutcome.blocked)
  expect(detach(guest, sbdf).rc).toBe(-ENOENT)
  expect(about(guest, sbdf).space).toBe(SPACE_NONE)
  expect(attach(guest, sbdf, spaces[1]).rc).toBe(0)
  expect(destroy(guest, spaces[1], DESTROY_SPACE_FLAGS.DETACH)).toBe(0)
  expect(device.read(Number(AT))).toBe(DmaOutcome.blocked)
  expect(destroy(guest, spaces[0])).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(0)
  expect(query(guest)).toMatchObject({ pinned: 0n, spaces: 0 })
})

test('a mirror is not modifiable; set_default empties it, once, before any mapping (abi.md, Default space 0; 22)', () => {
  const { guest, device, sbdf } = system()
  guest.poke(10, 0, 0x5a)
  const machine = guest.mfn(10) * 4096
  expect(device.read(machine)).toBe(0x5a)
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT })]).rc).toBe(-EPERM)
  expect(unmapList(guest, 0, []).rc).toBe(-EPERM)
  expect(setDefault(guest, DEFAULT_KIND.MIRROR)).toBe(-EINVAL)
  const tables = query(guest).table_pages
  expect(setDefault(guest)).toBe(0)
  expect(query(guest).default_kind).toBe(DEFAULT_KIND.EMPTY)
  expect(query(guest).table_pages).toBeLessThan(tables)
  expect(device.read(machine)).toBe(DmaOutcome.blocked)
  expect(about(guest, sbdf)).toMatchObject({ space: 0, state: DEVICE_STATE.ATTACHED })
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT })]).rc).toBe(0)
  expect(device.read(Number(AT))).toBe(0x5a)
  expect(setDefault(guest)).toBe(-EBUSY)
})

test('dom0 can be confined too: set_default of its own (abi.md, Dom0 or hypervisor?)', () => {
  const r = rig()
  const { device, sbdf } = deviceOf(r, 0)
  r.dom0.view.configWrite(sbdf, 4, 2, 6)
  expect(device.read(r.dom0.mfn(30) * 4096)).toBe(0)
  expect(setDefault(r.dom0)).toBe(0)
  expect(device.read(r.dom0.mfn(30) * 4096)).toBe(DmaOutcome.blocked)
})

test('a pending invalidation holds address and frame until its ticket is flushed (abi.md, tickets; I4, I7)', () => {
  const { r, guest, device } = system({ kind: DEFAULT_KIND.EMPTY, deferred: 100 })
  const NO_FLUSH = IOMMU_FLAG.NO_FLUSH
  expect(
    mapList(
      guest,
      0,
      [0, 1, 2].map((i) => page(guest, 10 + i, { io_address: AT + BigInt(i) * 0x1000n })),
    ).rc,
  ).toBe(0)
  expect(device.read(Number(AT))).toBe(0)
  const first = unmapList(guest, 0, [{ io_address: AT, pages: 1n }], { flags: NO_FLUSH })
  expect(first).toMatchObject({ rc: 0, done: 1, ticket: 1n })
  // The device may still hit what it cached: the frame is held meanwhile.
  expect(device.read(Number(AT))).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(6)
  expect(query(guest)).toMatchObject({ deferred: 1, pending: 1n, pinned: 3n })
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }], { flags: NO_FLUSH }).rc).toBe(-ENOENT)
  for (let i = 0; i < 300; i++) {
    const any = mapList(guest, 0, [page(guest, 20, { flags: MAP_ELEMENT_FLAGS.ANY, access: 1, limit: AT + 0xfffn })])
    if (any.rc !== 0) break
    expect(any.elements[0]!.io_address).not.toBe(AT)
  }
  const second = unmapList(guest, 0, [{ io_address: AT + 0x1000n, pages: 1n }], { flags: NO_FLUSH })
  expect(second.ticket).toBe(2n)
  expect(flush(guest, { ticket: 3n }).rc).toBe(-EINVAL)
  expect(flush(guest, { ticket: 1n })).toMatchObject({ rc: 0, out: { completed: 2n } })
  expect(flush(guest, { ticket: 1n })).toMatchObject({ rc: 0, out: { completed: 2n } })
  expect(device.read(Number(AT))).toBe(DmaOutcome.blocked)
  expect(query(guest)).toMatchObject({ deferred: 0, pending: 0n })
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT })]).rc).toBe(0)
})

test('an explicit map at a pending address completes the invalidation first (abi.md, tickets)', () => {
  const { guest, device } = system({ kind: DEFAULT_KIND.EMPTY, deferred: 100 })
  mapList(guest, 0, [page(guest, 10, { io_address: AT })])
  device.read(Number(AT))
  unmapList(guest, 0, [{ io_address: AT, pages: 1n }], { flags: IOMMU_FLAG.NO_FLUSH })
  guest.poke(11, 0, 0x11)
  expect(mapList(guest, 0, [page(guest, 11, { io_address: AT })]).rc).toBe(0)
  expect(device.read(Number(AT))).toBe(0x11)
  expect(mapList(guest, 0, [page(guest, 11, { io_address: AT })]).rc).toBe(-EADDRINUSE)
})

test('at the limit of entries, or of age, the hypervisor flushes by itself (abi.md, tickets; I6)', () => {
  const { r, guest } = system({ kind: DEFAULT_KIND.EMPTY, deferred: 2, age: 50_000 })
  const flags = IOMMU_FLAG.NO_FLUSH
  const one = (i: number): void => {
    mapList(guest, 0, [page(guest, 10 + i, { io_address: AT + BigInt(i) * 0x1000n })])
    expect(unmapList(guest, 0, [{ io_address: AT + BigInt(i) * 0x1000n, pages: 1n }], { flags }).rc).toBe(0)
  }
  ;[0, 1, 2].forEach(one)
  expect(query(guest).deferred).toBe(0)
  one(3)
  expect(query(guest).deferred).toBe(1)
  const { now } = r.machine.clock
  while (r.machine.clock.now < now + 100_000) guest.view.relax()
  expect(query(guest)).toMatchObject({ deferred: 0, pinned: 0n })
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test('policy can forbid deferral: NO_FLUSH is then strict, and says so by ticket 0 (abi, unmap)', () => {
  const { r, guest } = system({ kind: DEFAULT_KIND.EMPTY })
  mapList(guest, 0, [page(guest, 10, { io_address: AT })])
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }], { flags: IOMMU_FLAG.NO_FLUSH })).toMatchObject({
    rc: 0,
    ticket: 0n,
  })
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test('flush: one of ticket, range or all (abi, flush)', () => {
  const { guest } = system({ kind: DEFAULT_KIND.EMPTY, deferred: 10 })
  expect(flush(guest, { flags: FLUSH_FLAGS.ALL | FLUSH_FLAGS.RANGE }).rc).toBe(-EINVAL)
  expect(flush(guest, { flags: FLUSH_FLAGS.ALL, ticket: 1n }).rc).toBe(-EINVAL)
  expect(flush(guest, { flags: FLUSH_FLAGS.RANGE, io_address: AT }).rc).toBe(-EINVAL)
  expect(flush(guest, { io_address: AT }).rc).toBe(-EINVAL)
  expect(flush(guest, { flags: FLUSH_FLAGS.RANGE, io_address: 2n ** 64n - 0x1000n, pages: 2n }).rc).toBe(
    -Errno.EOVERFLOW,
  )
  expect(flush(guest, { flags: FLUSH_FLAGS.RANGE, io_address: AT, pages: 2n }).rc).toBe(0)
  expect(flush(guest, { flags: FLUSH_FLAGS.ALL }).rc).toBe(0)
})

test('a deferred space defers without being asked each time, and attach completes what is pending', () => {
  const { r, guest, device, sbdf } = system({ deferred: 100 })
  const { space } = create(guest, sbdf, { flags: CREATE_SPACE_FLAGS.DEFERRED }).out
  attach(guest, sbdf, space)
  mapList(guest, space, [page(guest, 10, { io_address: AT })])
  device.read(Number(AT))
  expect(unmapList(guest, space, [{ io_address: AT, pages: 1n }]).ticket).toBe(1n)
  expect(r.hypervisor.snapshot().references).toBe(2)
  expect(detach(guest, sbdf).rc).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(0)
})
