import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DOMID,
  Errno,
  IOMMU_OP,
  IOMMU_FLAG,
  LOOKUP_KIND,
  MAP_ELEMENT_FLAGS,
  UNMAP_FLAGS,
  XENMEM,
  iommu_lookup,
  iommu_map,
  iommu_map_element,
  iommu_query,
  xen_memory_exchange,
  xen_memory_reservation,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, deviceOf, give, iommuOp, setLimits, type Limits } from './builder.ts'
import { type MapElement, mapList, page, unmapList } from './lists.ts'
import { type Guest, rig } from './rig.ts'

const { ANY, FOLLOWS, EXACT_SIZE } = MAP_ELEMENT_FLAGS
const {
  EINVAL,
  E2BIG,
  EOPNOTSUPP,
  EOVERFLOW,
  ERANGE,
  EADDRNOTAVAIL,
  EADDRINUSE,
  ENXIO,
  ENOSPC,
  ENOBUFS,
  ENOMEM,
  ENOENT,
} = Errno
const AT = 0x10_0000n

function system(limits: Limits = {}) {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY, ...limits })
  return { r, guest, device: deviceOf(r, 0).device, references: () => r.hypervisor.snapshot().references }
}

const query = (guest: Guest) => iommuOp(guest, IOMMU_OP.query, iommu_query, {}).out
const lookup = (guest: Guest, io_address: bigint) => iommuOp(guest, IOMMU_OP.lookup, iommu_lookup, { io_address })

test('each error of an element in order of precedence, and nothing of it happened (abi.md, errors)', () => {
  const { r, guest, references } = system()
  const foreign = BigInt(r.dom0.mfn(20))
  const good = page(guest, 10)
  expect(mapList(guest, 0, [{ ...good, io_address: AT }]).rc).toBe(0)
  const before = { references: references(), pinned: query(guest).pinned, tables: query(guest).table_pages }
  const cases: [Partial<MapElement>, number][] = [
    [{ io_address: AT + 1n }, EINVAL],
    [{ pages: 0n }, EINVAL],
    [{ access: 0 }, EINVAL],
    [{ access: 8 }, EINVAL],
    [{ access: 4 }, EINVAL],
    [{ access: 7 }, EOPNOTSUPP],
    [{ flags: 0x10 }, EOPNOTSUPP],
    [{ flags: ANY | FOLLOWS }, EINVAL],
    [{ flags: FOLLOWS }, EINVAL],
    [{ flags: ANY, boundary: 5 }, EINVAL],
    [{ flags: ANY, align: 64 }, EINVAL],
    [{ flags: EXACT_SIZE, page_order: 9 }, EOPNOTSUPP],
    [{ io_address: 2n ** 64n - 0x1000n, pages: 2n, gfn: foreign }, EOVERFLOW],
    [{ io_address: 0n, pages: 2n ** 64n - 1n }, EOVERFLOW],
    [{ io_address: 2n ** 48n, gfn: foreign }, ERANGE],
    [{ io_address: AT, limit: AT + 0xffen, gfn: foreign }, ERANGE],
    [{ io_address: 0xfee0_0000n, gfn: foreign }, EADDRNOTAVAIL],
    [{ io_address: 0xfed0_0000n, pages: 0x200n, gfn: foreign }, EADDRNOTAVAIL],
    [{ io_address: AT, gfn: foreign }, EADDRINUSE],
    [{ io_address: AT - 0x1000n, pages: 2n, gfn: foreign }, EADDRINUSE],
    [{ io_address: AT * 2n, gfn: foreign }, ENXIO],
    [{ io_address: AT * 2n, gfn: 0xff_ffffn }, ENXIO],
    [{ io_address: AT * 2n, gfn: 2n ** 40n }, ENXIO],
    [{ io_address: AT * 2n, gfn: 2n ** 63n }, ENXIO],
    [{ flags: ANY, pages: 2n ** 32n }, ENXIO],
    [{ flags: ANY, gfn: foreign, limit: 0xfffn }, ENXIO],
    [{ flags: ANY, limit: 0xfffn }, ENOSPC],
    [{ flags: ANY, limit: 0x1ffen }, ENOSPC],
  ]
  for (const [value, error] of cases) {
    const { rc, done, elements } = mapList(guest, 0, [{ ...good, io_address: 0n, ...value }])
    expect([value, rc, done, elements[0]!.status]).toEqual([value, -error, 0, -error])
  }
  expect({ references: references(), pinned: query(guest).pinned, tables: query(guest).table_pages }).toEqual(before)
})

test('a list stops at its first failure: what is before took effect, what is behind is untouched (abi.md; I12)', () => {
  const { guest, device } = system()
  guest.poke(10, 0, 0x10)
  guest.poke(12, 0, 0x12)
  const list = [
    page(guest, 10, { io_address: AT }),
    { gfn: 1n, pages: 1n, access: 3, io_address: AT + 0x1000n },
    page(guest, 12, { io_address: AT + 0x2000n, status: 77, granted: 9 }),
  ]
  const { rc, done, elements } = mapList(guest, 0, list)
  expect({ rc, done }).toEqual({ rc: -ENXIO, done: 1 })
  expect(elements.map(({ status }) => status)).toEqual([0, -ENXIO, 77])
  expect(elements[2]!.granted).toBe(9)
  expect([0, 0x1000, 0x2000].map((at) => device.read(Number(AT) + at))).toEqual([
    0x10,
    DmaOutcome.blocked,
    DmaOutcome.blocked,
  ])
  expect(mapList(guest, 0, [])).toMatchObject({ rc: 0, done: 0 })
})

test('ANY keeps limit, alignment and boundary, and never gives page 0 (abi.md, map)', () => {
  const { guest } = system()
  const any = (value: Partial<MapElement>): bigint => {
    const { rc, elements } = mapList(guest, 0, [page(guest, 10, { flags: ANY, ...value })])
    expect(rc).toBe(0)
    return elements[0]!.io_address
  }
  const seen = new Set<bigint>()
  for (let i = 0; i < 20; i++) {
    const limited = any({ limit: 0x1f_ffffn })
    expect(limited).toBeGreaterThan(0n)
    expect(limited).toBeLessThan(0x20_0000n)
    seen.add(limited)
    const aligned = any({ align: 16 })
    expect(aligned % 0x1_0000n).toBe(0n)
    seen.add(aligned)
  }
  expect(seen.size).toBe(40)
  const contiguous = (count: number, value: Partial<MapElement>) =>
    mapList(
      guest,
      0,
      Array.from({ length: count }, (_, i) => page(guest, 10 + i, { flags: i === 0 ? ANY : FOLLOWS, ...value })),
    )
  for (let i = 0; i < 10; i++) {
    const { rc, elements } = contiguous(3, { boundary: 14 })
    expect(rc).toBe(0)
    expect(elements[0]!.io_address / 0x4000n).toBe(elements[2]!.io_address / 0x4000n)
  }
  expect(contiguous(5, { boundary: 14 })).toMatchObject({ rc: -ENOSPC, done: 0 })
})

test('the whole chain is one allocation: a chain that does not fit fails at its first element (abi.md, FOLLOWS)', () => {
  const { guest } = system()
  const chain = (count: number, limit: bigint) =>
    mapList(
      guest,
      0,
      Array.from({ length: count }, (_, i) =>
        page(guest, 10 + i, { flags: i === 0 ? ANY : FOLLOWS, limit: i === 0 ? limit : 0n }),
      ),
    )
  expect(chain(4, 0x3fffn)).toMatchObject({ rc: -ENOSPC, done: 0 })
  expect(chain(3, 0x3fffn)).toMatchObject({ rc: 0, done: 3 })
  expect(lookup(guest, 0x2000n).out).toMatchObject({
    start: 0x1000n,
    pages: 3n,
    gfn: BigInt(guest.mfn(11)),
    kind: LOOKUP_KIND.MEMORY,
    access: 3,
  })
})

test('a chain whose middle fails is the shorter mapping of its prefix', () => {
  const { r, guest } = system()
  const { rc, done, elements } = mapList(guest, 0, [
    page(guest, 10, { flags: ANY }),
    page(guest, 11, { flags: FOLLOWS }),
    { gfn: 1n, pages: 1n, access: 1, flags: FOLLOWS },
    page(guest, 12, { flags: FOLLOWS }),
  ])
  expect({ rc, done }).toEqual({ rc: -ENXIO, done: 2 })
  const io_address = elements[0]!.io_address
  expect(unmapList(guest, 0, [{ io_address, pages: 1n }]).rc).toBe(-EINVAL)
  expect(unmapList(guest, 0, [{ io_address, pages: 2n }]).rc).toBe(0)
  expect(r.hypervisor.snapshot()).toMatchObject({
    references: 0,
    mappings: { made: 1, ended: 1, pagesMade: 2, pagesEnded: 2 },
  })
})

test('read and write access are granted apart (abi.md, access)', () => {
  const { guest, device } = system()
  expect(
    mapList(guest, 0, [
      page(guest, 10, { io_address: AT, access: 1 }),
      page(guest, 11, { io_address: AT + 0x1000n, access: 2 }),
    ]).rc,
  ).toBe(0)
  const io = Number(AT)
  expect([device.read(io), device.write(io, 1)]).toEqual([0, DmaOutcome.blocked])
  expect([device.read(io + 0x1000), device.write(io + 0x1000, 1)]).toEqual([DmaOutcome.blocked, DmaOutcome.translated])
  expect(lookup(guest, AT + 0x1234n).out).toMatchObject({ access: 2, granted: 2, start: AT + 0x1000n, pages: 1n })
})

test('the pin quota is ENOBUFS, the table-page reserve ENOMEM, and neither changes anything (abi.md, errors; I16)', () => {
  const { r, guest, references } = system({ pinned: 3, tablePages: 4 })
  const one = (pfn: number, io_address: bigint) => mapList(guest, 0, [page(guest, pfn, { io_address })]).rc
  expect(one(10, AT)).toBe(0)
  const before = { pages: query(guest).table_pages, references: references() }
  expect(before.pages).toBeLessThanOrEqual(4n)
  expect(one(11, 2n ** 38n)).toBe(-ENOMEM)
  expect({ pages: query(guest).table_pages, references: references() }).toEqual(before)
  expect(one(11, AT + 0x1000n)).toBe(0)
  expect(one(12, AT + 0x2000n)).toBe(0)
  expect(one(13, AT + 0x3000n)).toBe(-ENOBUFS)
  expect(query(guest)).toMatchObject({ pinned: 3n, max_pinned: 3n })
  expect(setLimits(r.dom0, guest.domid, { pinned: 1 })).toBe(0)
  expect(one(13, AT + 0x3000n)).toBe(-ENOBUFS)
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }]).rc).toBe(0)
  expect(one(13, AT + 0x3000n)).toBe(-ENOBUFS)
  expect(query(guest).pinned).toBe(2n)
})

test('ALL_OR_NOTHING: one bad element, and nothing of the list happened (abi.md, lists)', () => {
  const { guest, device, references } = system()
  const flags = IOMMU_FLAG.ALL_OR_NOTHING
  const good = [
    page(guest, 10, { flags: ANY }),
    page(guest, 11, { flags: FOLLOWS }),
    page(guest, 12, { io_address: AT }),
  ]
  expect(mapList(guest, 0, [...good, { gfn: 1n, pages: 1n, access: 1, flags: ANY }], { flags })).toMatchObject({
    rc: -ENXIO,
    done: 0,
  })
  expect(references()).toBe(0)
  expect(query(guest)).toMatchObject({ pinned: 0n })
  expect(device.read(Number(AT))).toBe(DmaOutcome.blocked)
  // Two elements of one list cannot have the same address.
  expect(
    mapList(guest, 0, [page(guest, 10, { io_address: AT }), page(guest, 11, { io_address: AT })], { flags }),
  ).toMatchObject({ rc: -EADDRINUSE, done: 0 })
  const { rc, done, elements } = mapList(guest, 0, good, { flags })
  expect({ rc, done }).toEqual({ rc: 0, done: 3 })
  expect(elements[1]!.io_address).toBe(elements[0]!.io_address + 0x1000n)
  expect(device.write(Number(elements[1]!.io_address), 3)).toBe(DmaOutcome.translated)
  expect(guest.peek(11, 0)).toBe(3)
  expect(
    mapList(
      guest,
      0,
      Array.from({ length: 65 }, () => page(guest, 10, { flags: ANY })),
      { flags },
    ).rc,
  ).toBe(-E2BIG)
  expect(
    unmapList(guest, 0, [
      { io_address: elements[0]!.io_address, pages: 2n },
      { io_address: AT, pages: 1n },
    ]).done,
  ).toBe(2)
  expect(references()).toBe(0)
})

test('ALL_OR_NOTHING counts table pages before it stores (abi.md, lists)', () => {
  const { guest, device, references } = system({ tablePages: 8 })
  const far = Array.from({ length: 6 }, (_, i) => page(guest, 10 + i, { io_address: BigInt(i + 1) * 2n ** 33n }))
  expect(mapList(guest, 0, far, { flags: IOMMU_FLAG.ALL_OR_NOTHING })).toMatchObject({ rc: -ENOMEM, done: 0 })
  expect(references()).toBe(0)
  expect(device.read(2 ** 33)).toBe(DmaOutcome.blocked)
})

test('unmap: a hole is ENOENT, HOLES_OK passes it, a split is EINVAL, and nothing is removed on failure (abi.md 8)', () => {
  const { guest, device } = system()
  guest.poke(10, 0, 1)
  mapList(guest, 0, [
    page(guest, 10, { io_address: AT }),
    page(guest, 11, { io_address: AT + 0x2000n }),
    page(guest, 12, { io_address: AT + 0x3000n, pages: 1n }),
    page(guest, 13, { flags: FOLLOWS }),
  ])
  const unmap = (from: bigint, pages: bigint, flags = 0) =>
    unmapList(guest, 0, [{ io_address: AT + from, pages }], { flags })
  expect(unmap(1n, 1n).rc).toBe(-EINVAL)
  expect(unmap(0n, 0n).rc).toBe(-EINVAL)
  expect(unmap(0n, 3n)).toMatchObject({ rc: -ENOENT, done: 0 })
  expect(unmap(0n, 4n, UNMAP_FLAGS.HOLES_OK)).toMatchObject({ rc: -EINVAL })
  expect(unmap(0x4000n, 1n, UNMAP_FLAGS.HOLES_OK)).toMatchObject({ rc: -EINVAL })
  expect(device.read(Number(AT))).toBe(1)
  expect(unmap(0x1000n, 1n).rc).toBe(-ENOENT)
  expect(unmapList(guest, 0, [{ io_address: 0xfee0_0000n, pages: 1n }]).rc).toBe(-EADDRNOTAVAIL)
  expect(unmapList(guest, 0, [{ io_address: 2n ** 60n, pages: 1n }]).rc).toBe(-ERANGE)
  expect(unmapList(guest, 0, [{ io_address: 2n ** 64n - 0x1000n, pages: 2n }]).rc).toBe(-EOVERFLOW)
  expect(unmap(0n, 5n, UNMAP_FLAGS.HOLES_OK).elements[0]).toMatchObject({ status: 0, done: 4 })
  expect(unmap(0n, 5n, UNMAP_FLAGS.HOLES_OK).elements[0]).toMatchObject({ status: 0, done: 0 })
})

test('unmap: CONTINUE tries every element and counts successes; ALL ends every mapping (abi.md, lists)', () => {
  const { r, guest } = system()
  mapList(guest, 0, [page(guest, 10, { io_address: AT }), page(guest, 11, { io_address: AT + 0x2000n })])
  const { rc, done, elements } = unmapList(
    guest,
    0,
    [0n, 0x1000n, 0x2000n].map((at) => ({ io_address: AT + at, pages: 1n })),
    { flags: IOMMU_FLAG.CONTINUE },
  )
  expect({ rc, done, statuses: elements.map(({ status }) => status) }).toEqual({
    rc: 0,
    done: 2,
    statuses: [0, -ENOENT, 0],
  })
  for (let i = 0; i < 40; i++) mapList(guest, 0, [page(guest, 10 + i, { flags: ANY, access: 1 })])
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }], { flags: IOMMU_FLAG.ALL }).rc).toBe(-EINVAL)
  expect(unmapList(guest, 0, [], { flags: IOMMU_FLAG.ALL })).toMatchObject({ rc: 0, done: 40 })
  expect(r.hypervisor.snapshot()).toMatchObject({ references: 0, mappings: { made: 42, ended: 42 } })
  expect(query(guest)).toMatchObject({ pinned: 0n })
})

test('elements may grow: a larger stride is taken, an unknown tail is E2BIG (abi.md, lists)', () => {
  const { guest } = system()
  const put = (i: number, tail: number) => {
    const at = guest.list + i * 64
    guest.put(
      iommu_map_element,
      { ...iommu_map_element.zero(), ...page(guest, 10 + i, { io_address: AT + BigInt(i) * 0x1000n }) },
      at,
    )
    for (let byte = 48; byte < 64; byte++) guest.view.memory.bytes[guest.offset(at + byte)] = byte === 63 ? tail : 0
  }
  ;[0, 1, 0].forEach((tail, i) => put(i, tail))
  const list = { array: BigInt(guest.list), count: 3, stride: 64 }
  const { rc, out } = iommuOp(guest, IOMMU_OP.map, iommu_map, { space: 0, list })
  expect({ rc, done: out.done }).toEqual({ rc: -E2BIG, done: 1 })
  expect(guest.get(iommu_map_element, guest.list + 64).status).toBe(-E2BIG)
})

test('a list may start anywhere and cross pages that are scattered in the machine', () => {
  const { guest, device } = system()
  const array = guest.list + 4096 - 20
  const count = 90
  for (let i = 0; i < count; i++)
    guest.put(
      iommu_map_element,
      { ...iommu_map_element.zero(), ...page(guest, 20 + (i % 20), { flags: ANY, access: 1 }) },
      array + i * 48,
    )
  guest.poke(25, 0, 0x25)
  const { rc, out } = iommuOp(guest, IOMMU_OP.map, iommu_map, {
    space: 0,
    list: { array: BigInt(array), count, stride: 48 },
  })
  expect({ rc, done: out.done }).toEqual({ rc: 0, done: count })
  expect(device.read(Number(guest.get(iommu_map_element, array + 5 * 48).io_address))).toBe(0x25)
  const addresses = Array.from({ length: count }, (_, i) => guest.get(iommu_map_element, array + i * 48).io_address)
  expect(new Set(addresses).size).toBe(count)
})

test('a contiguous range is one element, and its frames are referenced one by one', () => {
  const { r, guest, device } = system()
  guest.putU64(Array.from({ length: 8 }, (_, i) => guest.mfn(30 + i)))
  const reservation = { ...xen_memory_reservation.zero(), domid: DOMID.SELF, extent_start: BigInt(guest.list) }
  const exchange = { in: { ...reservation, nr_extents: 8n }, out: { ...reservation, nr_extents: 1n, extent_order: 3 } }
  expect(guest.op('memory_op', XENMEM.exchange, xen_memory_exchange, exchange).rc).toBe(0)
  const gfn = BigInt(guest.mfn(30))
  expect(mapList(guest, 0, [{ gfn, pages: 8n, access: 3, io_address: AT }]).rc).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(16)
  expect(device.write(Number(AT) + 0x7000, 5)).toBe(DmaOutcome.translated)
  expect(guest.peek(37, 0)).toBe(5)
  // One frame more than is there, and one that is there twice.
  expect(mapList(guest, 0, [{ gfn, pages: 4096n, access: 3, io_address: AT * 2n }]).rc).toBe(-ENXIO)
  expect(mapList(guest, 0, [{ gfn, pages: 2n, access: 1, flags: ANY }]).rc).toBe(0)
  expect(r.hypervisor.snapshot().references).toBe(18)
  expect(unmapList(guest, 0, [], { flags: IOMMU_FLAG.ALL }).done).toBe(2)
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test('a frame that is mapped for a device stays held when its owner gives it back, and is freed with the mapping (I4)', () => {
  const { r, guest, device } = system()
  const mfn = guest.mfn(10)
  expect(mapList(guest, 0, [page(guest, 10, { io_address: AT })]).rc).toBe(0)
  const free = r.hypervisor.snapshot().freeFrames
  guest.putU64([mfn])
  expect(decrease(guest)).toBe(1)
  expect(r.hypervisor.snapshot().freeFrames).toBe(free)
  expect(device.write(Number(AT), 7)).toBe(DmaOutcome.translated)
  expect(r.hypervisor.oracle.frame(mfn)).toMatchObject({ owner: guest.domid, count: 1, typeCount: 1 })
  // Given back: no new mapping of it.
  expect(mapList(guest, 0, [{ gfn: BigInt(mfn), pages: 1n, access: 1, flags: ANY }]).rc).toBe(-ENXIO)
  expect(unmapList(guest, 0, [{ io_address: AT, pages: 1n }]).rc).toBe(0)
  expect(r.hypervisor.snapshot().freeFrames).toBe(free + 1)
})

function decrease(guest: Guest): number {
  return guest.op('memory_op', XENMEM.decrease_reservation, xen_memory_reservation, {
    extent_start: BigInt(guest.list),
    nr_extents: 1n,
    domid: DOMID.SELF,
  }).rc
}
