import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DOMID,
  Errno,
  GNTMAP,
  GNTST,
  HYPERCALL,
  IOMMU_FLAG,
  MMUEXT,
  XENMEM,
  XEN_DOMCTL,
  mmuext_op,
  xen_domctl,
  xen_memory_reservation,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, deviceOf, domctl, give, type Limits } from './builder.ts'
import { entryFlags, grant, mapRef, slotAddress, unmapRef } from './grants.ts'
import { mapList, page, unmapList } from './lists.ts'
import { type Guest, rig } from './rig.ts'

const AT = 0x10_0000n

function system(limits: Limits = {}) {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, limits)
  return { r, guest, device: deviceOf(r, 0).device }
}

const mmuext = (guest: Guest, cmd: number, mfn: number): number => {
  guest.put(mmuext_op, { cmd, arg1: BigInt(mfn), arg2: 0n })
  return guest.call(HYPERCALL.mmuext_op, guest.argument, 1)
}
const pin = (guest: Guest, mfn: number): number => mmuext(guest, MMUEXT.PIN_L1_TABLE, mfn)
const unpin = (guest: Guest, mfn: number): number => mmuext(guest, MMUEXT.UNPIN_TABLE, mfn)

test('a page table is reachable by no device: it leaves the mirror with its type, and comes back (abi.md, Default space 0; XSA-288)', () => {
  const { guest, device } = system()
  const mfn = guest.mfn(10)
  guest.poke(10, 0, 5)
  expect(device.read(mfn * 4096)).toBe(5)
  expect(pin(guest, mfn)).toBe(0)
  expect([device.read(mfn * 4096), device.write(mfn * 4096, 1)]).toEqual([DmaOutcome.blocked, DmaOutcome.blocked])
  expect(pin(guest, mfn)).toBe(-Errno.EINVAL)
  // Given back it would be somebody else's, and still a page table (XSA-252).
  guest.putU64([mfn])
  const reservation = { extent_start: BigInt(guest.list), nr_extents: 1n, domid: DOMID.SELF }
  expect(guest.op('memory_op', XENMEM.decrease_reservation, xen_memory_reservation, reservation).rc).toBe(0)
  expect(unpin(guest, mfn)).toBe(0)
  expect(device.write(mfn * 4096, 6)).toBe(DmaOutcome.translated)
  expect(guest.peek(10, 0)).toBe(6)
  expect(unpin(guest, mfn)).toBe(-Errno.EINVAL)
})

test('writable mappings and page tables exclude each other; readable ones do not (abi.md, map; facts C, page accounting)', () => {
  const { r, guest, device } = system({ kind: DEFAULT_KIND.EMPTY })
  const mfn = guest.mfn(10)
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT })]).rc).toBe(0)
  expect(pin(guest, mfn)).toBe(-Errno.EINVAL)
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }]).rc).toBe(0)
  expect(pin(guest, mfn)).toBe(0)
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT })]).rc).toBe(-Errno.EACCES)
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT, access: 1 })]).rc).toBe(0)
  expect(device.write(Number(AT), 1)).toBe(DmaOutcome.blocked)
  expect(unpin(guest, mfn)).toBe(0)
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }]).rc).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(0)
  expect(pin(guest, r.dom0.mfn(20))).toBe(-Errno.EINVAL)
  expect(pin(guest, 0xff_ffff)).toBe(-Errno.EINVAL)
  expect(mmuext(guest, 9, mfn)).toBe(-Errno.ENOSYS)
})

test('a grant for writing of a page table is refused, and a granted page that is mapped for writing is not pinned (xsa-224)', () => {
  const { r, guest } = system()
  const mfn = guest.mfn(10)
  grant(guest, 8, 0, 10)
  const map = (flags: number) =>
    mapRef(r.dom0, { host_addr: slotAddress(r.dom0, 0), flags: flags | GNTMAP.host_map, ref: 8, dom: guest.domid })
  const writing = map(0)
  expect(writing.status).toBe(0)
  expect(pin(guest, mfn)).toBe(-Errno.EINVAL)
  expect(unmapRef(r.dom0, { host_addr: slotAddress(r.dom0, 0), handle: writing.handle })).toBe(0)
  expect(pin(guest, mfn)).toBe(0)
  expect(map(0).status).toBe(GNTST.general_error)
  expect(entryFlags(guest, 8)).toBe(1)
  expect(map(GNTMAP.readonly).status).toBe(0)
})

test('deferral is never visible as an error: what only pending invalidations hold is completed and tried again (abi.md, tickets)', () => {
  const { r, guest } = system({ kind: DEFAULT_KIND.EMPTY, deferred: 100 })
  const mfn = guest.mfn(10)
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT })]).rc).toBe(0)
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }], { flags: IOMMU_FLAG.NO_FLUSH }).ticket).toBe(1n)
  expect(r.hypervisor.snapshot().references).toBe(2)
  expect(pin(guest, mfn)).toBe(0)
  expect(unpin(guest, mfn)).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test("a list stops at the first operation that fails, and says how many were done; a dying domain's pins go with it", () => {
  const { r, guest } = system()
  const ops = [guest.mfn(10), guest.mfn(11), r.dom0.mfn(20), guest.mfn(12)]
  ops.forEach((mfn, i) =>
    guest.put(mmuext_op, { cmd: MMUEXT.PIN_L4_TABLE, arg1: BigInt(mfn), arg2: 0n }, guest.list + i * 24),
  )
  expect(guest.call(HYPERCALL.mmuext_op, guest.list, 4, guest.argument)).toBe(-Errno.EINVAL)
  expect(guest.view.memory.view.getUint32(guest.offset(guest.argument), true)).toBe(2)
  expect(guest.call(HYPERCALL.mmuext_op, 0, 1)).toBe(-Errno.EFAULT)
  expect(domctl(r.dom0, XEN_DOMCTL.destroydomain, guest.domid, xen_domctl).rc).toBe(0)
  expect(r.hypervisor.snapshot()).toMatchObject({ references: 0 })
  expect(r.hypervisor.snapshot().domains.map(({ domid }) => domid)).toEqual([0])
})
