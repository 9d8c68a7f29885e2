import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DESTROY_SPACE_FLAGS,
  HYPERCALL,
  IOMMU_FLAG,
  IOMMU_OP,
  MAP_ELEMENT_FLAGS,
  XEN_DOMCTL,
  iommu_attach_device,
  iommu_create_space,
  iommu_destroy_space,
  multicall_entry,
  xen_domctl,
} from '@iospace/abi'
import type { TraceSink } from '@iospace/machine'
import { addGuest, deviceOf, domctl, give, iommuOp } from './builder.ts'
import { grant } from './grants.ts'
import { mapGrants, mapList, page, unmapGrants, unmapList } from './lists.ts'
import { rig } from './rig.ts'

const { ANY, FOLLOWS } = MAP_ELEMENT_FLAGS

/** Counts events, and pages mapped by (space, address). */
class Counts implements TraceSink {
  readonly hypercalls: Record<string, number> = {}
  readonly mapped = new Map<string, number>()
  maps = 0
  unmaps = 0
  mapPages = 0
  unmapPages = 0
  readonly domains: (string | null)[] = []
  readonly owners: [number, number, number][] = []
  domain(_time: number, domid: number, name: string | null): void {
    this.domains.push(name === null ? null : `${domid}`)
  }
  device(_time: number, sbdf: number, domid: number, space: number): void {
    this.owners.push([sbdf, domid, space])
  }
  hypercall(start: number, end: number, _domid: number, name: string): void {
    expect(end).toBeGreaterThanOrEqual(start)
    this.hypercalls[name] = (this.hypercalls[name] ?? 0) + 1
  }
  map(_time: number, domid: number, space: number, ioAddress: number, pages: number): void {
    const key = `${domid}/${space}/${ioAddress}`
    expect(this.mapped.has(key)).toBe(false)
    this.mapped.set(key, pages)
    this.maps++
    this.mapPages += pages
  }
  unmap(_time: number, domid: number, space: number, ioAddress: number, pages: number): void {
    // What ends is exactly what began.
    const key = `${domid}/${space}/${ioAddress}`
    expect([key, this.mapped.get(key)]).toEqual([key, pages])
    this.mapped.delete(key)
    this.unmaps++
    this.unmapPages += pages
  }
  dma(): void {}
  fault(): void {}
}

test('the trace has an event for each thing that the books count, and every unmap ends what a map began (issue: trace)', () => {
  const r = rig()
  const before = r.hypervisor.snapshot()
  const trace = new Counts()
  r.machine.trace = trace
  const guest = addGuest(r)
  give(r, guest, 0, { kind: DEFAULT_KIND.EMPTY, deferred: 10 })
  const { sbdf } = deviceOf(r, 0)
  grant(r.dom0, 8, guest.domid, 30)
  const { space } = iommuOp(guest, IOMMU_OP.create_space, iommu_create_space, {
    device_count: 1,
    devices: [sbdf, ...Array<number>(15).fill(0)],
  }).out
  iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: sbdf, space })
  for (const id of [0, space]) {
    // Single pages, a chain, a chain that breaks off, an atomic list, one that fails, grants.
    const singles = mapList(
      guest,
      id,
      Array.from({ length: 70 }, (_, i) => page(guest, 10 + (i % 20), { flags: ANY })),
    )
    expect(singles.rc).toBe(0)
    mapList(guest, id, [
      page(guest, 10, { flags: ANY }),
      page(guest, 11, { flags: FOLLOWS }),
      page(guest, 12, { io_address: 0x5000_0000n }),
    ])
    mapList(guest, id, [
      page(guest, 10, { flags: ANY }),
      page(guest, 11, { flags: FOLLOWS }),
      { gfn: 1n, pages: 1n, access: 1, flags: FOLLOWS },
    ])
    mapList(
      guest,
      id,
      [page(guest, 10, { flags: ANY }), page(guest, 11, { flags: FOLLOWS }), page(guest, 12, { flags: ANY })],
      { flags: IOMMU_FLAG.ALL_OR_NOTHING },
    )
    mapList(guest, id, [page(guest, 10, { flags: ANY }), { gfn: 1n, pages: 1n, access: 1, flags: ANY }], {
      flags: IOMMU_FLAG.ALL_OR_NOTHING,
    })
    const [first] = mapGrants(
      guest,
      id,
      [8, 8].map((ref) => ({ domid: 0, ref, access: 1, flags: ANY })),
    ).elements
    unmapGrants(guest, id, [first!.handle])
    unmapList(guest, id, [{ io_address: 0x5000_0000n, pages: 1n }])
    unmapList(
      guest,
      id,
      singles.elements.slice(0, 30).map(({ io_address }) => ({ io_address, pages: 1n })),
      { flags: IOMMU_FLAG.NO_FLUSH },
    )
    unmapList(
      guest,
      id,
      singles.elements.slice(30, 40).map(({ io_address }) => ({ io_address, pages: 1n })),
      { flags: IOMMU_FLAG.CONTINUE },
    )
  }
  guest.put(
    multicall_entry,
    { op: BigInt(HYPERCALL.xen_version), result: 0n, args: [0n, 0n, 0n, 0n, 0n, 0n] },
    guest.list,
  )
  guest.call(HYPERCALL.multicall, guest.list, 1)
  guest.call(HYPERCALL.iommu_op, 99, 0)
  unmapList(guest, 0, [], { flags: IOMMU_FLAG.ALL })
  iommuOp(guest, IOMMU_OP.destroy_space, iommu_destroy_space, { space, flags: DESTROY_SPACE_FLAGS.DETACH })
  expect(domctl(r.dom0, XEN_DOMCTL.destroydomain, guest.domid, xen_domctl).rc).toBe(0)
  const after = r.hypervisor.snapshot()
  expect(trace.mapped.size).toBe(0)
  expect({ made: trace.maps, ended: trace.unmaps, pagesMade: trace.mapPages, pagesEnded: trace.unmapPages }).toEqual(
    after.mappings,
  )
  const calls = Object.entries(after.hypercalls).map(
    ([name, times]) => [name, times - (before.hypercalls[name] ?? 0)] as const,
  )
  expect(trace.hypercalls).toEqual(Object.fromEntries(calls.filter(([, times]) => times > 0)))
  expect(trace.hypercalls).toMatchObject({ multicall: 1, 'xen_version.version': 1, 'iommu_op.unknown': 1 })
  expect(trace.domains).toEqual([`${guest.domid}`, null])
  expect(trace.owners.map(([, domid, id]) => [domid, id])).toEqual([
    [guest.domid, 0],
    [guest.domid, space],
    [guest.domid, -1],
    [0x7ff1, -1],
  ])
})
