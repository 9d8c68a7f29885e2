import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DESTROY_SPACE_FLAGS,
  DOMID,
  Errno,
  IOMMU_OP,
  MAP_ELEMENT_FLAGS,
  XENMEM,
  XEN_DOMCTL,
  iommu_create_space,
  iommu_destroy_space,
  iommu_map,
  iommu_map_element,
  iommu_unmap,
  xen_domctl,
  xen_memory_reservation,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, deviceOf, domctl, give, iommuOp } from './builder.ts'
import { mapList, page, unmapList } from './lists.ts'
import { rig } from './rig.ts'

const { ANY } = MAP_ELEMENT_FLAGS
const COUNT = 200
/** Where a second vCPU of the guest keeps its arguments. */
const OTHER = 60 * 4096

function system() {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY })
  const { device, sbdf } = deviceOf(r, 0)
  /** Runs `act` once, at the next preemption point. */
  const atPreemption = (act: () => void): void => {
    r.hypervisor.onPreempt = () => {
      r.hypervisor.onPreempt = null
      act()
    }
  }
  return { r, guest, device, sbdf, atPreemption }
}

test('what a guest changes in its argument while the call runs has no effect: each byte is read once (I14, XSA-155)', () => {
  const { r, guest, device, atPreemption } = system()
  const list = Array.from({ length: COUNT }, (_, i) => page(guest, 10 + (i % 30), { flags: ANY, access: 1 }))
  let changed = false
  atPreemption(() => {
    changed = true
    // Every element that is still to come names a frame of dom0's, for writing; and the struct another space and count.
    for (let i = 0; i < COUNT; i++) {
      const at = guest.list + i * 48
      guest.put(
        iommu_map_element,
        { ...guest.get(iommu_map_element, at), gfn: BigInt(r.dom0.mfn(30)), access: 3, pages: 5n },
        at,
      )
    }
    guest.put(iommu_map, {
      ...guest.get(iommu_map),
      space: 77,
      flags: 0xffff,
      list: { array: 0n, count: 5000, stride: 1 },
    })
  })
  const { rc, done, elements } = mapList(guest, 0, list)
  expect([changed, rc, done]).toEqual([true, 0, COUNT])
  for (let i = 0; i < COUNT; i++) {
    expect(elements[i]!.status).toBe(0)
    guest.poke(10 + (i % 30), 3, i % 30)
    expect(device.read(Number(elements[i]!.io_address) + 3)).toBe(i % 30)
    expect(device.write(Number(elements[i]!.io_address), 1)).toBe(DmaOutcome.blocked)
  }
  // IN fields that were changed meanwhile stay as the guest left them: the hypervisor writes OUT fields only.
  expect(elements[150]).toMatchObject({ gfn: BigInt(r.dom0.mfn(30)), pages: 5n, granted: 1 })
})

test("the array may be given away while the call runs: answers go to the frames that were held, and nobody else's (abi.md, lists)", () => {
  const { r, guest, atPreemption } = system()
  const array = 30 * 4096
  const count = 80
  for (let i = 0; i < count; i++)
    guest.put(
      iommu_map_element,
      { ...iommu_map_element.zero(), ...page(guest, 10, { flags: ANY, access: 1 }) },
      array + i * 48,
    )
  const given = guest.mfn(30)
  let freeWhileHeld = true
  atPreemption(() => {
    guest.putU64([given], OTHER + 256)
    guest.put(
      xen_memory_reservation,
      { ...xen_memory_reservation.zero(), extent_start: BigInt(OTHER + 256), nr_extents: 1n, domid: DOMID.SELF },
      OTHER,
    )
    expect(guest.call(12, XENMEM.decrease_reservation, OTHER)).toBe(1)
    freeWhileHeld = r.hypervisor.oracle.frame(given)?.owner !== guest.domid
  })
  const { rc, out } = iommuOp(guest, IOMMU_OP.map, iommu_map, {
    space: 0,
    list: { array: BigInt(array), count, stride: 48 },
  })
  expect([rc, out.done, freeWhileHeld]).toEqual([0, count, false])
  expect(r.hypervisor.oracle.frame(given)).toMatchObject({ owner: -1 })
})

test("between slices addresses and frames are the call's own: another vCPU sees EADDRINUSE (abi.md, lists; I13)", () => {
  const { guest, device, atPreemption } = system()
  const seen: number[] = []
  atPreemption(() => {
    guest.put(
      iommu_map_element,
      { ...iommu_map_element.zero(), ...page(guest, 40, { io_address: 0x1000n }) },
      OTHER + 256,
    )
    guest.put(
      iommu_map,
      {
        ...iommu_map.zero(),
        size: iommu_map.size,
        domid: DOMID.SELF,
        list: { array: BigInt(OTHER + 256), count: 1, stride: 48 },
      },
      OTHER,
    )
    seen.push(guest.call(43, IOMMU_OP.map, OTHER))
  })
  const { rc, done } = mapList(
    guest,
    0,
    Array.from({ length: COUNT }, (_, i) => page(guest, 10, { io_address: BigInt(i + 1) * 0x1000n, access: 1 })),
  )
  expect([rc, done, seen]).toEqual([0, COUNT, [-Errno.EADDRINUSE]])
  expect(device.write(0x1000, 1)).toBe(DmaOutcome.blocked)
})

test('a space that is destroyed under a suspended map or unmap: EAGAIN, and nothing is left (abi.md, EAGAIN)', () => {
  for (const kind of ['map', 'unmap'] as const) {
    const { r, guest, sbdf, atPreemption } = system()
    const { space } = iommuOp(guest, IOMMU_OP.create_space, iommu_create_space, {
      device_count: 1,
      devices: [sbdf, ...Array<number>(15).fill(0)],
    }).out
    const list = Array.from({ length: COUNT }, (_, i) =>
      page(guest, 10, { io_address: BigInt(i + 1) * 0x1000n, access: 1 }),
    )
    if (kind === 'unmap') expect(mapList(guest, space, list).rc).toBe(0)
    let destroyed = 1
    atPreemption(() => {
      guest.put(
        iommu_destroy_space,
        {
          ...iommu_destroy_space.zero(),
          size: iommu_destroy_space.size,
          flags: DESTROY_SPACE_FLAGS.DETACH,
          domid: DOMID.SELF,
          space,
        },
        OTHER,
      )
      destroyed = guest.call(43, IOMMU_OP.destroy_space, OTHER)
    })
    const rc =
      kind === 'map'
        ? mapList(guest, space, list).rc
        : unmapList(
            guest,
            space,
            list.map(({ io_address }) => ({ io_address: io_address!, pages: 1n })),
          ).rc
    expect([kind, destroyed, rc]).toEqual([kind, 0, -Errno.EAGAIN])
    const after = r.hypervisor.snapshot()
    expect([kind, after.references, after.mappings.made]).toEqual([kind, 0, after.mappings.ended])
    expect(after.domains.find(({ domid }) => domid === guest.domid)).toMatchObject({
      pinned: 0,
      spaces: 0,
      deferred: 0,
    })
  }
})

test('a domain that is destroyed under its own suspended call: the call ends, and nothing is left (I13, I19)', () => {
  const { r, guest, atPreemption } = system()
  let destroyed = 1
  atPreemption(() => {
    destroyed = domctl(r.dom0, XEN_DOMCTL.destroydomain, guest.domid, xen_domctl).rc
  })
  const list = Array.from({ length: 100 }, () => page(guest, 10, { flags: ANY, access: 1 }))
  list.forEach((value, i) =>
    guest.put(iommu_map_element, { ...iommu_map_element.zero(), ...value }, guest.list + i * 48),
  )
  const argument = guest.put(iommu_map, {
    ...iommu_map.zero(),
    size: iommu_map.size,
    domid: DOMID.SELF,
    list: { array: BigInt(guest.list), count: 100, stride: 48 },
  })
  expect(guest.call(43, IOMMU_OP.map, argument)).toBe(-Errno.EAGAIN)
  expect(destroyed).toBe(0)
  expect(r.hypervisor.snapshot()).toMatchObject({ references: 0 })
  expect(r.hypervisor.snapshot().domains.map(({ domid }) => domid)).toEqual([0])
})

test('unmap of the same mapping by two vCPUs at once ends it once', () => {
  const { r, guest, atPreemption } = system()
  const list = Array.from({ length: COUNT }, (_, i) =>
    page(guest, 10, { io_address: BigInt(i + 1) * 0x1000n, access: 3 }),
  )
  expect(mapList(guest, 0, list).rc).toBe(0)
  const ranges = list.map(({ io_address }) => ({ io_address: io_address!, pages: 1n }))
  let other = 0
  atPreemption(() => {
    guest.put(
      iommu_unmap,
      {
        ...iommu_unmap.zero(),
        size: iommu_unmap.size,
        flags: 1 << 2,
        domid: DOMID.SELF,
        list: { array: 0n, count: 0, stride: 0 },
      },
      OTHER,
    )
    expect(guest.call(43, IOMMU_OP.unmap, OTHER)).toBe(0)
    other = guest.get(iommu_unmap, OTHER).done
  })
  const { rc, done } = unmapList(guest, 0, ranges)
  expect(done + other).toBe(COUNT)
  expect(rc).toBe(-Errno.ENOENT)
  expect(r.hypervisor.snapshot()).toMatchObject({ references: 0, mappings: { made: COUNT, ended: COUNT } })
})
