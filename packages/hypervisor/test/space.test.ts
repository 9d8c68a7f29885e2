import { expect, test } from 'vitest'
import { DEFAULT_KIND, Errno, HYPERCALL, MAP_ELEMENT_FLAGS } from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, deviceOf, give } from './builder.ts'
import { mapList, unmapList } from './lists.ts'
import { rig } from './rig.ts'

test('a mapped frame is reached at the address that ANY gave, and not after unmap (abi.md sub-ops 7 and 8)', () => {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY })
  const { device } = deviceOf(r, 0)
  guest.poke(10, 5, 0xab)
  const mapped = mapList(guest, 0, [{ gfn: BigInt(guest.mfn(10)), pages: 1n, access: 3, flags: MAP_ELEMENT_FLAGS.ANY }])
  expect(mapped).toMatchObject({ rc: 0, done: 1 })
  const io = mapped.elements[0]!.io_address
  expect(io).toBeGreaterThan(0n)
  expect(device.read(Number(io) + 5)).toBe(0xab)
  expect(device.write(Number(io) + 6, 0xcd)).toBe(DmaOutcome.translated)
  expect(guest.peek(10, 6)).toBe(0xcd)
  expect(r.hypervisor.snapshot().references).toBe(2)
  const ended = unmapList(guest, 0, [{ io_address: io, pages: 1n }])
  expect(ended).toMatchObject({ rc: 0, done: 1, ticket: 0n })
  expect(ended.elements[0]).toMatchObject({ status: 0, done: 1 })
  expect(device.read(Number(io) + 5)).toBe(DmaOutcome.blocked)
  expect(r.hypervisor.snapshot()).toMatchObject({
    references: 0,
    mappings: { made: 1, ended: 1, pagesMade: 1, pagesEnded: 1 },
  })
})

test('FOLLOWS makes scattered frames contiguous for the device, as one mapping (abi.md, map)', () => {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY })
  const { device } = deviceOf(r, 0)
  const pfns = [9, 30, 17]
  pfns.forEach((pfn, i) => guest.poke(pfn, 0, 0x40 + i))
  const { ANY, FOLLOWS } = MAP_ELEMENT_FLAGS
  const mapped = mapList(
    guest,
    0,
    pfns.map((pfn, i) => ({
      gfn: BigInt(guest.mfn(pfn)),
      pages: 1n,
      access: 1,
      flags: i === 0 ? ANY : FOLLOWS,
      limit: 0xffff_ffffn,
    })),
  )
  expect(mapped).toMatchObject({ rc: 0, done: 3 })
  const io = Number(mapped.elements[0]!.io_address)
  expect(mapped.elements.map(({ io_address }) => Number(io_address) - io)).toEqual([0, 0x1000, 0x2000])
  expect(pfns.map((_, i) => device.read(io + i * 0x1000))).toEqual([0x40, 0x41, 0x42])
  expect(device.write(io, 1)).toBe(DmaOutcome.blocked)
  expect(unmapList(guest, 0, [{ io_address: BigInt(io), pages: 2n }])).toMatchObject({ rc: -Errno.EINVAL, done: 0 })
  expect(unmapList(guest, 0, [{ io_address: BigInt(io + 0x1000), pages: 2n }])).toMatchObject({
    rc: -Errno.EINVAL,
    done: 0,
  })
  expect(device.read(io + 0x2000)).toBe(0x42)
  expect(unmapList(guest, 0, [{ io_address: BigInt(io), pages: 3n }])).toMatchObject({ rc: 0, done: 1 })
  expect(r.hypervisor.snapshot()).toMatchObject({
    references: 0,
    mappings: { made: 1, ended: 1, pagesMade: 3, pagesEnded: 3 },
  })
  expect(HYPERCALL.iommu_op).toBe(43)
})
