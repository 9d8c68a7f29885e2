import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DOMID,
  DESTROY_SPACE_FLAGS,
  Errno,
  GNTMAP,
  GNTST,
  GTF,
  HANDLE_NONE,
  IOMMU_FLAG,
  IOMMU_OP,
  LOOKUP_KIND,
  MAP_GRANT_ELEMENT_FLAGS,
  XENMEM,
  iommu_attach_device,
  iommu_create_space,
  iommu_destroy_space,
  iommu_flush,
  iommu_lookup,
  xen_memory_exchange,
  xen_memory_reservation,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, deviceOf, give, iommuOp, type Limits } from './builder.ts'
import { entryFlags, grant, grantFrame, mapRef, setEntry, slot, slotAddress, unmapRef } from './grants.ts'
import { type GrantElement, type MapElement, mapGrants, mapList, unmapGrants, unmapList } from './lists.ts'
import { rig } from './rig.ts'

const { ANY } = MAP_GRANT_ELEMENT_FLAGS
const AT = 0x10_0000n

/** A driver domain with a device in an empty default space, and a guest that grants it page 10 as reference 8. */
function system(limits: Limits = {}) {
  const r = rig()
  const driver = addGuest(r)
  const guest = addGuest(r, { iommu: false })
  give(r, driver, 0, { kind: DEFAULT_KIND.EMPTY, ...limits })
  grant(guest, 8, driver.domid, 10)
  guest.poke(10, 0, 209)
  const element = (value: Partial<GrantElement> = {}): Partial<GrantElement> => ({
    domid: guest.domid,
    ref: 8,
    access: 3,
    flags: ANY,
    ...value,
  })
  const references = (): number => r.hypervisor.snapshot().references
  return { r, driver, guest, device: deviceOf(r, 0).device, element, references }
}

test('a granted frame is reached by reference, and the granter cannot end it before unmap_grant (abi.md 10, 11)', () => {
  const { r, driver, guest, device, element, references } = system()
  const { rc, done, elements } = mapGrants(driver, 0, [element()])
  expect({ rc, done }).toEqual({ rc: 0, done: 1 })
  const { io_address, handle, status, error, granted } = elements[0]!
  expect({ status, error, granted }).toEqual({ status: 0, error: 0, granted: 3 })
  expect(entryFlags(guest, 8)).toBe(GTF.permit_access | GTF.reading | GTF.writing)
  expect(device.read(Number(io_address))).toBe(209)
  expect(device.write(Number(io_address) + 1, 0x34)).toBe(DmaOutcome.translated)
  expect(guest.peek(10, 1)).toBe(0x34)
  // The CPU of the driver domain does not see it.
  expect(references()).toBe(2)
  setEntry(guest, 8, { flags: 0, frame: guest.mfn(11) })
  expect(device.read(Number(io_address))).toBe(209)
  expect(iommuOp(driver, IOMMU_OP.lookup, iommu_lookup, { io_address }).out).toMatchObject({
    kind: LOOKUP_KIND.GRANT,
    gfn: 0n,
    handle,
    ref: 8,
    owner: guest.domid,
    pages: 1n,
  })
  expect(unmapList(driver, 0, [{ io_address, pages: 1n }]).rc).toBe(-Errno.EACCES)
  expect(unmapGrants(driver, 0, [handle])).toMatchObject({ rc: 0, done: 1 })
  expect(device.read(Number(io_address))).toBe(DmaOutcome.blocked)
  expect(entryFlags(guest, 8)).toBe(0)
  expect(r.hypervisor.snapshot()).toMatchObject({ references: 0, mappings: { made: 1, ended: 1 } })
})

test('each element has its GNTST and errno, and a list stops at its first failure, or goes on with CONTINUE (abi.md)', () => {
  const { driver, guest, element, references } = system({ pinned: 2 })
  grant(guest, 9, 77, 11)
  grant(guest, 10, driver.domid, 12, GTF.permit_access | GTF.readonly)
  grantFrame(guest, 11, driver.domid, 0xff_ffff)
  const cases: [Partial<GrantElement>, number, number][] = [
    [{ domid: 77 }, GNTST.bad_domain, Errno.ESRCH],
    [{ ref: 1 << 30 }, GNTST.bad_gntref, Errno.ENOENT],
    [{ ref: 9 }, GNTST.general_error, Errno.EACCES],
    [{ ref: 10 }, GNTST.general_error, Errno.EACCES],
    [{ ref: 11 }, GNTST.bad_page, Errno.ENXIO],
    [{ access: 0 }, GNTST.general_error, Errno.EINVAL],
    [{ access: 4 }, GNTST.general_error, Errno.EINVAL],
    [{ flags: 0x40 }, GNTST.general_error, Errno.EOPNOTSUPP],
    [{ flags: 0, io_address: 5n }, GNTST.general_error, Errno.EINVAL],
    [{ flags: 0, io_address: 2n ** 62n }, GNTST.general_error, Errno.ERANGE],
    [{ flags: 0, io_address: 0xfee0_1000n }, GNTST.general_error, Errno.EADDRNOTAVAIL],
    [{ limit: 0xfffn }, GNTST.no_device_space, Errno.ENOSPC],
  ]
  for (const [value, status, error] of cases) {
    const result = mapGrants(driver, 0, [element(value)])
    expect([value, result.rc, result.done, result.elements[0]!.status, result.elements[0]!.error]).toEqual([
      value,
      -error,
      0,
      status,
      -error,
    ])
  }
  expect([8, 9, 10, 11].map((ref) => entryFlags(guest, ref))).toEqual([1, 1, 5, 1])
  expect(references()).toBe(0)
  const list = [element(), element({ ref: 9 }), element({ ref: 10, access: 1 }), element()]
  const stopped = mapGrants(driver, 0, list)
  expect(stopped).toMatchObject({ rc: -Errno.EACCES, done: 1 })
  expect(stopped.elements[2]!.error).toBe(0)
  expect(unmapGrants(driver, 0, [stopped.elements[0]!.handle]).done).toBe(1)
  const all = mapGrants(driver, 0, list, { flags: IOMMU_FLAG.CONTINUE })
  expect({ rc: all.rc, done: all.done, errors: all.elements.map(({ error }) => error) }).toEqual({
    rc: 0,
    done: 2,
    errors: [0, -Errno.EACCES, 0, -Errno.ENOBUFS],
  })
})

test('a read-only grant is mapped for reading, and stays so (I18)', () => {
  const { driver, guest, device } = system()
  grant(guest, 10, driver.domid, 12, GTF.permit_access | GTF.readonly)
  const { elements } = mapGrants(driver, 0, [{ domid: guest.domid, ref: 10, access: 1, flags: ANY }])
  expect(entryFlags(guest, 10)).toBe(0xd)
  expect(device.read(Number(elements[0]!.io_address))).toBe(0)
  expect(device.write(Number(elements[0]!.io_address), 1)).toBe(DmaOutcome.blocked)
})

test('handles are of their space, and die with their mapping (abi.md, Grants)', () => {
  const { driver, element } = system()
  const { handle } = mapGrants(driver, 0, [element()]).elements[0]!
  const ended = unmapGrants(driver, 0, [handle, handle], { flags: IOMMU_FLAG.CONTINUE })
  expect(ended).toMatchObject({ rc: 0, done: 1 })
  expect(ended.elements[1]).toMatchObject({ status: GNTST.bad_handle, error: -Errno.ENOENT })
  const again = mapGrants(driver, 0, [element()]).elements[0]!.handle
  expect(again).not.toBe(handle)
  expect(unmapGrants(driver, 0, [handle])).toMatchObject({ rc: -Errno.ENOENT, done: 0 })
  expect(unmapGrants(driver, 0, [HANDLE_NONE]).rc).toBe(-Errno.ENOENT)
  expect(unmapGrants(driver, 0, [again]).rc).toBe(0)
})

test('both kinds of maps pin through the same counters, and either keeps the entry in use (abi.md, Grants)', () => {
  const { r, driver, guest, element } = system()
  const host = mapRef(driver, { host_addr: slotAddress(driver, 0), flags: GNTMAP.host_map, ref: 8, dom: guest.domid })
  expect(host.status).toBe(0)
  const mapped = mapGrants(driver, 0, [element(), element()])
  expect(r.hypervisor.snapshot().domains[driver.domid]).toMatchObject({ grantHandles: 3, pinned: 2 })
  expect(unmapRef(driver, { host_addr: slotAddress(driver, 0), handle: host.handle })).toBe(0)
  expect(entryFlags(guest, 8)).toBe(0x19)
  expect(
    unmapGrants(
      driver,
      0,
      mapped.elements.map(({ handle }) => handle),
    ).done,
  ).toBe(2)
  expect(entryFlags(guest, 8)).toBe(1)
  // At most 128 of a kind.
  const many = mapGrants(
    driver,
    0,
    Array.from({ length: 129 }, () => element()),
  )
  expect(many).toMatchObject({ rc: -Errno.EACCES, done: 128 })
  expect(many.elements[128]!.status).toBe(GNTST.general_error)
})

test('NO_FLUSH leaves the grant in use until flush (abi.md 11)', () => {
  const { driver, guest, device, element } = system({ deferred: 10 })
  const { handle, io_address } = mapGrants(driver, 0, [element()]).elements[0]!
  expect(device.read(Number(io_address))).toBe(209)
  const { ticket } = unmapGrants(driver, 0, [handle], { flags: IOMMU_FLAG.NO_FLUSH })
  expect(ticket).toBe(1n)
  expect(entryFlags(guest, 8)).toBe(0x19)
  expect(unmapGrants(driver, 0, [handle]).rc).toBe(-Errno.ENOENT)
  expect(entryFlags(guest, 8)).toBe(1)
  const next = mapGrants(driver, 0, [element()]).elements[0]!
  const pending = unmapGrants(driver, 0, [next.handle], { flags: IOMMU_FLAG.NO_FLUSH }).ticket
  expect(iommuOp(driver, IOMMU_OP.flush, iommu_flush, { space: 0, ticket: pending }).rc).toBe(0)
  expect(entryFlags(guest, 8)).toBe(1)
})

test('with an empty default space, device_map takes an address below 4 GiB and returns it; host_map reaches no device (abi.md, Grants)', () => {
  const { driver, guest, device, references } = system()
  const map = (flags: number) => mapRef(driver, { host_addr: slotAddress(driver, 0), flags, ref: 8, dom: guest.domid })
  const host = map(GNTMAP.host_map)
  expect(driver.peek(slot(driver, 0), 0)).toBe(209)
  expect(device.read(guest.mfn(10) * 4096)).toBe(DmaOutcome.blocked)
  expect(unmapRef(driver, { host_addr: slotAddress(driver, 0), handle: host.handle })).toBe(0)
  const both = map(GNTMAP.host_map | GNTMAP.device_map)
  expect(both.dev_bus_addr).toBeLessThan(2n ** 32n)
  expect(device.read(Number(both.dev_bus_addr))).toBe(209)
  expect(unmapRef(driver, { dev_bus_addr: both.dev_bus_addr + 4096n, handle: both.handle })).toBe(GNTST.bad_dev_addr)
  expect(unmapRef(driver, { dev_bus_addr: both.dev_bus_addr, handle: both.handle })).toBe(0)
  expect(device.read(Number(both.dev_bus_addr))).toBe(DmaOutcome.blocked)
  expect(entryFlags(guest, 8)).toBe(0x19)
  expect(unmapRef(driver, { host_addr: slotAddress(driver, 0), handle: both.handle })).toBe(0)
  expect(references()).toBe(0)
})

test('a full window is GNTST_no_device_space: the status that nothing in Xen returns (facts A.1)', () => {
  const r = rig({ lowFrames: 8192, highFrames: 8192 })
  const driver = addGuest(r, { pages: 160 })
  const guest = addGuest(r, { iommu: false })
  give(r, driver, 0, { kind: DEFAULT_KIND.EMPTY, pinned: 2 ** 21, tablePages: 2500 })
  grant(guest, 8, driver.domid, 10)
  // 256 KiB that are contiguous in the machine, mapped again and again until all below 4 GiB but page 0 and the interrupt window is taken.
  driver.putU64(Array.from({ length: 64 }, (_, i) => driver.mfn(64 + i)))
  const reservation = { ...xen_memory_reservation.zero(), domid: DOMID.SELF, extent_start: BigInt(driver.list) }
  const exchange = { in: { ...reservation, nr_extents: 64n }, out: { ...reservation, nr_extents: 1n, extent_order: 6 } }
  expect(driver.op('memory_op', XENMEM.exchange, xen_memory_exchange, exchange).rc).toBe(0)
  const gfn = BigInt(driver.mfn(64))
  const blocks: Partial<MapElement>[] = []
  for (let at = 1n; at < 2n ** 20n;) {
    if (at >= 0xfee00n && at < 0xfef00n) at = 0xfef00n
    const end = at < 0xfee00n ? 0xfee00n : 2n ** 20n
    const pages = end - at < 64n ? end - at : 64n
    blocks.push({ io_address: at * 4096n, gfn, pages, access: 1 })
    at += pages
  }
  for (let i = 0; i < blocks.length; i += 512) expect(mapList(driver, 0, blocks.slice(i, i + 512)).rc).toBe(0)
  const device = (): number => mapRef(driver, { flags: GNTMAP.device_map, ref: 8, dom: guest.domid }).status
  expect(device()).toBe(GNTST.no_device_space)
  expect(entryFlags(guest, 8)).toBe(1)
  expect(unmapList(driver, 0, [{ io_address: 0x1000n, pages: blocks[0]!.pages! }]).rc).toBe(0)
  expect(device()).toBe(GNTST.okay)
  expect(unmapList(driver, 0, [], { flags: IOMMU_FLAG.ALL }).done).toBe(blocks.length - 1)
  expect(r.hypervisor.snapshot().references).toBe(2)
}, 30_000)

test('a space with live grant handles is destroyed only with DETACH, which ends them (abi.md 4)', () => {
  const { r, driver, guest, element } = system()
  const sbdf = driver.view.devices()[0]!
  const { space } = iommuOp(driver, IOMMU_OP.create_space, iommu_create_space, {
    device_count: 1,
    devices: [sbdf, ...Array<number>(15).fill(0)],
  }).out
  expect(mapGrants(driver, space, [element({ flags: 0, io_address: AT })]).rc).toBe(0)
  expect(iommuOp(driver, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space }).rc).toBe(0)
  const destroy = (flags: number) => iommuOp(driver, IOMMU_OP.destroy_space, iommu_destroy_space, { space, flags }).rc
  expect(destroy(0)).toBe(-Errno.EBUSY)
  expect(destroy(DESTROY_SPACE_FLAGS.DETACH)).toBe(0)
  expect(entryFlags(guest, 8)).toBe(1)
  expect(r.hypervisor.snapshot()).toMatchObject({ references: 0, mappings: { made: 1, ended: 1 } })
})
