import { expect, test } from 'vitest'
import {
  DOMID,
  Errno,
  HYPERCALL,
  XENMAPSPACE,
  XENMEM,
  XEN_DOMCTL,
  domctl_max_mem,
  xen_add_to_physmap,
  xen_add_to_physmap_batch,
  xen_memory_exchange,
  xen_memory_reservation,
  xen_remove_from_physmap,
} from '@iospace/abi'
import { answer } from './answers.ts'
import { addGuest, domctl, populate } from './builder.ts'
import { type Guest, rig } from './rig.ts'

const plain = () => rig({ iommu: false })
const extents = (guest: Guest, command: number, list: readonly number[], value: object = {}) =>
  guest.op('memory_op', command, xen_memory_reservation, {
    extent_start: BigInt(guest.putU64(list)),
    nr_extents: BigInt(list.length),
    domid: DOMID.SELF,
    ...value,
  }).rc
const place = (guest: Guest, value: object): number =>
  guest.op('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, { domid: DOMID.SELF, ...value }).rc
const remove = (guest: Guest, gpfn: number, domid: number = DOMID.SELF): number =>
  guest.op('memory_op', XENMEM.remove_from_physmap, xen_remove_from_physmap, { domid, gpfn: BigInt(gpfn) }).rc

function about(guest: Guest, command: number, domid: number): number {
  guest.putU64([domid], guest.argument)
  return guest.call(HYPERCALL.memory_op, command, guest.argument)
}

test('extents: memory is given back once, and comes back where it is wanted (xen-answers)', () => {
  const { dom0 } = plain()
  const mfn = dom0.mfn(40)
  dom0.poke(40, 0, 7)
  expect(extents(dom0, XENMEM.decrease_reservation, [mfn])).toBe(answer('mem.decrease_good'))
  expect(dom0.view.memory.frameOffset(40)).toBe(-1)
  expect(extents(dom0, XENMEM.decrease_reservation, [mfn])).toBe(answer('mem.decrease_again'))
  expect(extents(dom0, XENMEM.populate_physmap, [40])).toBe(answer('mem.populate_physmap_good'))
  expect(dom0.getU64(1)).toEqual([dom0.mfn(40)])
  expect(extents(dom0, XENMEM.populate_physmap, [40], { extent_order: 20 })).toBe(answer('mem.populate_order_20'))
  expect(extents(dom0, XENMEM.populate_physmap, [41])).toBe(0)
  expect(dom0.call(HYPERCALL.memory_op, 63, dom0.argument)).toBe(answer('mem.unknown_op'))
  expect(about(dom0, XENMEM.current_reservation, 77)).toBe(answer('mem.current_reservation_no_such_domain'))
  expect(about(dom0, XENMEM.current_reservation, DOMID.SELF)).toBe(255)
  expect(about(dom0, XENMEM.maximum_reservation, DOMID.SELF)).toBe(256)
  expect(about(dom0, XENMEM.maximum_gpfn, DOMID.SELF)).toBe(dom0.view.memory.pages - 1)
})

test('a frame that was given back is zeroed before anybody gets it again (I15)', () => {
  const { dom0, machine } = rig({ iommu: false, lowFrames: 160, highFrames: 128, dom0Pages: 64 })
  const freed = [30, 31, 32].map((pfn) => {
    dom0.poke(pfn, 100, 0xee)
    return dom0.mfn(pfn)
  })
  expect(extents(dom0, XENMEM.decrease_reservation, freed)).toBe(3)
  const again = new Set<number>()
  expect(domctlMaxMem(dom0, 280)).toBe(0)
  for (let pfn = 64; extents(dom0, XENMEM.populate_physmap, [pfn]) === 1; pfn++) {
    const frame = dom0.mfn(pfn)
    again.add(frame)
    expect(dom0.peek(pfn, 100)).toBe(0)
  }
  expect(freed.every((mfn) => again.has(mfn))).toBe(true)
  expect(machine.memory.frames).toBe(288)
})

function domctlMaxMem(dom0: Guest, pages: number): number {
  return domctl(dom0, XEN_DOMCTL.max_mem, 0, domctl_max_mem, { max_memkb: BigInt(pages * 4) }).rc
}

test('frames come from below 2^n bytes where mem_flags say so, and scattered by the seed (xen memory.h)', () => {
  const { dom0 } = plain()
  expect(
    extents(
      dom0,
      XENMEM.decrease_reservation,
      Array.from({ length: 64 }, (_, i) => dom0.mfn(100 + i)),
    ),
  ).toBe(64)
  expect(
    extents(
      dom0,
      XENMEM.populate_physmap,
      Array.from({ length: 32 }, (_, i) => 100 + i),
      { mem_flags: 32 },
    ),
  ).toBe(32)
  expect(Array.from({ length: 32 }, (_, i) => dom0.mfn(100 + i)).every((mfn) => mfn < 0x10_0000)).toBe(true)
  const mfns = Array.from({ length: 90 }, (_, i) => dom0.mfn(1 + i))
  expect(mfns.some((mfn) => mfn >= 0x10_0000) && mfns.some((mfn) => mfn < 0x10_0000)).toBe(true)
  expect(mfns.filter((mfn, i) => i > 0 && mfn === mfns[i - 1]! + 1).length).toBeLessThan(5)
  const frames = (seed: number): number[] => {
    const other = rig({ iommu: false, seed }).dom0
    return Array.from({ length: 50 }, (_, i) => other.mfn(1 + i))
  }
  expect(frames(7)).toEqual(frames(7))
  expect(frames(7)).not.toEqual(frames(8))
})

test('a domain gets no more than max_mem, and what it does not get it is told by the count', () => {
  const r = plain()
  const guest = addGuest(r, { pages: 16, iommu: false })
  expect(extents(guest, XENMEM.populate_physmap, [20, 21, 22])).toBe(1)
  expect(guest.view.memory.frameOffset(21)).toBe(-1)
  expect(populate(r.dom0, 77, [5])).toBe(0)
  expect(extents(guest, XENMEM.populate_physmap, [30], { domid: 0 })).toBe(0)
})

test('exchange makes scattered memory contiguous in the machine, in the same slots (xen memory_exchange; XSA-212)', () => {
  const { dom0, hypervisor } = plain()
  const before = hypervisor.snapshot().freeFrames
  const old = Array.from({ length: 8 }, (_, i) => dom0.mfn(50 + i))
  dom0.putU64(old)
  const reservation = { ...xen_memory_reservation.zero(), domid: DOMID.SELF }
  const value = {
    in: { ...reservation, extent_start: BigInt(dom0.list), nr_extents: 8n },
    out: { ...reservation, extent_start: BigInt(dom0.list + 512), nr_extents: 1n, extent_order: 3, mem_flags: 32 },
  }
  const call = (nr_exchanged: bigint) =>
    dom0.op('memory_op', XENMEM.exchange, xen_memory_exchange, { ...value, nr_exchanged })
  expect(call(1n).rc).toBe(-Errno.EINVAL)
  expect(call(0n)).toMatchObject({ rc: 0, out: { nr_exchanged: 8n } })
  const [first] = dom0.getU64(1, dom0.list + 512)
  expect(first! % 8).toBe(0)
  expect(Array.from({ length: 8 }, (_, i) => dom0.mfn(50 + i))).toEqual(Array.from({ length: 8 }, (_, i) => first! + i))
  expect(call(0n).rc).toBe(-Errno.EINVAL)
  expect(hypervisor.snapshot().freeFrames).toBe(before)
  expect(about(dom0, XENMEM.current_reservation, DOMID.SELF)).toBe(255)
})

test('foreign pages: the control domain maps, writes and unmaps them; others may not (XENMEM gmfn_foreign)', () => {
  const r = plain()
  const { dom0 } = r
  const guest = addGuest(r, { iommu: false })
  const spare = dom0.view.memory.pages - 50
  const idxs = dom0.putU64([guest.mfn(5), guest.mfn(6), 0xffffff])
  const gpfns = dom0.putU64([spare, spare + 1, spare + 2], dom0.list + 64)
  const batch = (who: Guest, value: object) =>
    who.op('memory_op', XENMEM.add_to_physmap_batch, xen_add_to_physmap_batch, {
      domid: DOMID.SELF,
      space: XENMAPSPACE.gmfn_foreign,
      size: 3,
      foreign_domid: guest.domid,
      idxs: BigInt(idxs),
      gpfns: BigInt(gpfns),
      errs: BigInt(dom0.list + 128),
      ...value,
    }).rc
  expect(batch(dom0, {})).toBe(0)
  expect([0, 4, 8].map((at) => dom0.view.memory.view.getInt32(dom0.offset(dom0.list + 128 + at), true))).toEqual([
    0,
    0,
    -Errno.EINVAL,
  ])
  dom0.poke(spare, 9, 0x77)
  expect(guest.peek(5, 9)).toBe(0x77)
  expect(r.hypervisor.snapshot().references).toBe(2)
  expect([spare, spare + 1].map((pfn) => remove(dom0, pfn))).toEqual([0, 0])
  expect(remove(dom0, spare)).toBe(-Errno.ENOENT)
  expect(remove(dom0, 50)).toBe(-Errno.EINVAL)
  expect(r.hypervisor.snapshot().references).toBe(0)
  expect(batch(dom0, { foreign_domid: 77 })).toBe(-Errno.ESRCH)
  expect(batch(guest, { foreign_domid: 0 })).toBe(-Errno.EPERM)
  expect(batch(guest, { foreign_domid: 77 })).toBe(-Errno.EPERM)
  expect(place(guest, { domid: 0, space: XENMAPSPACE.shared_info, gpfn: 70n })).toBe(-Errno.EPERM)
})

test("the hypervisor's shared pages go into empty slots only", () => {
  const { dom0, hypervisor } = plain()
  const spare = BigInt(dom0.view.memory.pages - 10)
  expect(place(dom0, { space: XENMAPSPACE.shared_info, gpfn: spare })).toBe(0)
  expect(place(dom0, { space: XENMAPSPACE.shared_info, gpfn: spare })).toBe(-Errno.EBUSY)
  expect(place(dom0, { space: XENMAPSPACE.grant_table, idx: 3n, gpfn: spare + 1n })).toBe(0)
  expect(place(dom0, { space: XENMAPSPACE.grant_table, idx: 64n, gpfn: spare + 2n })).toBe(-Errno.EINVAL)
  expect(place(dom0, { space: XENMAPSPACE.shared_info, gpfn: spare + 100n })).toBe(-Errno.EINVAL)
  expect(place(dom0, { space: XENMAPSPACE.gmfn_foreign, idx: 5n, gpfn: spare + 2n })).toBe(-Errno.EINVAL)
  expect(place(dom0, { space: XENMAPSPACE.gmfn, idx: 5n, gpfn: spare + 2n })).toBe(-Errno.ENOSYS)
  expect(remove(dom0, Number(spare))).toBe(0)
  expect(hypervisor.snapshot().references).toBe(0)
})
