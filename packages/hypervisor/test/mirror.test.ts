import { expect, test } from 'vitest'
import { DOMID, GNTMAP, GNTST, HYPERCALL, MMUEXT, XENMEM, mmuext_op, xen_memory_reservation } from '@iospace/abi'
import { installVtd, vtdPersonalities } from '@iospace/iommu/hardware'
import { vtd } from '@iospace/iommu/spec'
import { DmaOutcome } from '@iospace/machine'
import { answer } from './answers.ts'
import { addGuest, deviceOf, give, populate, setLimits } from './builder.ts'
import { entryFlags, grant, mapRef, mapRefs, slot, slotAddress, unmapRef } from './grants.ts'
import { type Guest, type Rig, type RigOptions, rig } from './rig.ts'

const HOST = GNTMAP.host_map
const DEVICE = GNTMAP.device_map
const READONLY = GNTMAP.readonly
const BLOCKED = DmaOutcome.blocked

/** dom0 with a device in its mirror, as in the probe of real Xen; a guest that grants page 10. */
function system(options: RigOptions = {}) {
  const r = rig(options)
  const guest = addGuest(r, { iommu: false })
  const { device, sbdf } = deviceOf(r, 0)
  r.dom0.view.configWrite(sbdf, 4, 2, 6)
  guest.poke(10, 0, 0xd1)
  grant(guest, 8, 0, 10)
  return { r, dom0: r.dom0, guest, device, bus: guest.mfn(10) * 4096 }
}

const decrease = (who: Guest): number =>
  who.op('memory_op', XENMEM.decrease_reservation, xen_memory_reservation, {
    extent_start: BigInt(who.list),
    nr_extents: 1n,
    domid: DOMID.SELF,
  }).rc
const device = (r: Rig) => deviceOf(r, 0).device

/** What the device reads, in the words of the probe: 0 where its access was aborted. */
const seen = (outcome: number): number => (outcome < 0 ? 0 : outcome)

test("a mirror follows grant maps exactly as Xen 4.17's does with VT-d: any map enters, the last unmap leaves (xen-answers)", () => {
  const { dom0, guest, device, bus } = system()
  dom0.poke(20, 0, 0xab)
  expect(seen(device.read(dom0.mfn(20) * 4096))).toBe(answer('dma.reads_own_page', 'vtd'))
  expect(seen(device.read(bus))).toBe(answer('dma.reads_domU_page_not_granted_to_device', 'vtd'))
  const both = mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST | DEVICE, ref: 8, dom: guest.domid })
  expect(both.status).toBe(answer('dma.grant_map_device', 'vtd'))
  expect(both.dev_bus_addr === BigInt(bus)).toBe(answer('dma.grant_map_device > bus_addr_is_frame', 'vtd') === 1)
  device.write(bus, 0x22)
  expect(guest.peek(10, 0)).toBe(answer('dma.writes_domU_page_while_device_mapped', 'vtd'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 0), handle: both.handle })).toBe(
    answer('dma.unmap_host_part', 'vtd'),
  )
  expect(seen(device.read(bus))).toBe(0x22)
  guest.poke(10, 0, 0xd1)
  expect(unmapRef(dom0, { dev_bus_addr: both.dev_bus_addr, handle: both.handle })).toBe(0)
  expect(seen(device.read(bus))).toBe(answer('dma.reads_after_device_unmap', 'vtd'))
  device.write(bus, 0x22)
  expect(guest.peek(10, 0)).toBe(answer('dma.writes_after_device_unmap', 'vtd'))
  const host = mapRef(dom0, { host_addr: slotAddress(dom0, 0), flags: HOST, ref: 8, dom: guest.domid })
  expect(seen(device.read(bus))).toBe(answer('dma.reads_with_host_map_only', 'vtd'))
  expect(unmapRef(dom0, { host_addr: slotAddress(dom0, 0), handle: host.handle })).toBe(0)
  const readonly = mapRef(dom0, { flags: DEVICE | READONLY, ref: 8, dom: guest.domid })
  expect(readonly.status).toBe(answer('dma.device_map_readonly', 'vtd'))
  expect(seen(device.read(bus))).toBe(answer('dma.reads_device_readonly', 'vtd'))
  device.write(bus, 0x22)
  expect(guest.peek(10, 0)).toBe(answer('dma.writes_device_readonly', 'vtd'))
})

test("without an IOMMU every DMA works, granted or not: the talk's problem, shown (xen-answers)", () => {
  const { dom0, guest, device, bus } = system({ iommu: false })
  expect(device.read(bus)).toBe(answer('dma.reads_domU_page_not_granted_to_device'))
  const map = mapRef(dom0, { flags: DEVICE | READONLY, ref: 8, dom: guest.domid })
  device.write(bus, 0x22)
  expect(guest.peek(10, 0)).toBe(answer('dma.writes_device_readonly'))
  unmapRef(dom0, { dev_bus_addr: map.dev_bus_addr, handle: map.handle })
  expect(device.read(bus)).toBe(answer('dma.reads_after_device_unmap') === 0xd1 ? 0x22 : 0)
})

test('readers and writers are counted: the last writer leaves it readable, the last of all takes it out (facts C, radix tree)', () => {
  const { dom0, guest, device, bus } = system()
  const flags = [DEVICE, DEVICE | READONLY, DEVICE, DEVICE | READONLY]
  const maps = mapRefs(
    dom0,
    flags.map((one) => ({ flags: one, ref: 8, dom: guest.domid })),
  ).out
  const end = (i: number): number => unmapRef(dom0, { dev_bus_addr: BigInt(bus), handle: maps[i]!.handle })
  const may = (): number[] => [
    seen(device.read(bus)) === 0 ? 0 : 1,
    device.write(bus, 0xd1) === DmaOutcome.translated ? 1 : 0,
  ]
  expect(may()).toEqual([1, 1])
  expect(end(0)).toBe(0)
  expect(may()).toEqual([1, 1])
  expect(end(2)).toBe(0)
  expect(may()).toEqual([1, 0])
  expect(end(1)).toBe(0)
  expect(may()).toEqual([1, 0])
  // A writer comes back while a reader is there.
  const again = mapRef(dom0, { flags: DEVICE, ref: 8, dom: guest.domid })
  expect(may()).toEqual([1, 1])
  unmapRef(dom0, { dev_bus_addr: BigInt(bus), handle: again.handle })
  expect(may()).toEqual([1, 0])
  expect(end(3)).toBe(0)
  expect(may()).toEqual([0, 0])
})

test("a domain's grants of its own do not disturb its mirror (Xen: only when mapper ≠ granter)", () => {
  const { dom0, device } = system()
  grant(dom0, 9, 0, 20)
  const { handle, dev_bus_addr } = mapRef(dom0, { flags: DEVICE | READONLY, ref: 9, dom: 0 })
  expect(unmapRef(dom0, { dev_bus_addr, handle })).toBe(0)
  expect(device.write(dom0.mfn(20) * 4096, 1)).toBe(DmaOutcome.translated)
})

test("memory that comes and goes is in the mirror while it is the domain's (abi.md, Default space 0)", () => {
  const { r, dom0, device } = system()
  const mfn = dom0.mfn(40)
  dom0.poke(40, 0, 5)
  expect(device.read(mfn * 4096)).toBe(5)
  dom0.putU64([mfn])
  expect(decrease(dom0)).toBe(1)
  expect(device.read(mfn * 4096)).toBe(BLOCKED)
  expect(populate(dom0, 0, [40])).toBe(1)
  expect(device.write(dom0.mfn(40) * 4096, 9)).toBe(DmaOutcome.translated)
  expect(dom0.peek(40, 0)).toBe(9)
  // Another domain's, the hypervisor's and the IOMMU's own frames never are.
  const { oracle } = r.hypervisor
  expect(
    [...oracle.iommuFrames(), ...oracle.framesOf(DOMID.XEN), ...oracle.framesOf(1)].filter(
      (frame) => device.read(frame * 4096) >= 0,
    ),
  ).toEqual([])
})

test('no table page left: the operation fails and the domain lives (abi.md, Default space 0)', () => {
  const r = rig({ lowFrames: 32768, highFrames: 0 })
  const guest = addGuest(r, { pages: 8 })
  give(r, guest, 0)
  const owner = addGuest(r, { pages: 64, iommu: false })
  const table = (mfn: number): number => mfn >> 9
  const covered = new Set(Array.from({ length: 7 }, (_, i) => table(guest.mfn(i + 1))))
  const far = Array.from({ length: 63 }, (_, i) => i + 1).find((pfn) => !covered.has(table(owner.mfn(pfn))))!
  const near = Array.from({ length: 63 }, (_, i) => i + 1).find((pfn) => covered.has(table(owner.mfn(pfn))))!
  setLimits(r.dom0, guest.domid, { tablePages: 1 })
  grant(owner, 8, guest.domid, far)
  grant(owner, 9, guest.domid, near)
  const map = (ref: number) => mapRef(guest, { host_addr: slotAddress(guest, 0), flags: HOST, ref, dom: owner.domid })
  expect(map(8).status).toBe(GNTST.general_error)
  expect([entryFlags(owner, 8), guest.view.memory.frameOffset(slot(guest, 0))]).toEqual([1, -1])
  expect(map(9).status).toBe(0)
  expect(device(r).read(owner.mfn(near) * 4096)).toBe(0)
  expect(unmapRef(guest, { host_addr: slotAddress(guest, 0), handle: 0 })).toBe(0)
  // Memory that cannot enter the mirror is not given.
  const free = r.hypervisor.snapshot().freeFrames
  const mfn = guest.mfn(6)
  guest.putU64([mfn])
  expect(decrease(guest)).toBe(1)
  expect([0, 1]).toContain(populate(r.dom0, guest.domid, [6]))
  setLimits(r.dom0, guest.domid, { tablePages: 512 })
  if (guest.view.memory.frameOffset(6) < 0) expect(populate(r.dom0, guest.domid, [6])).toBe(1)
  expect(r.hypervisor.snapshot().freeFrames).toBeLessThanOrEqual(free)
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test('grants that were mapped before the domain had a device are in the mirror when it gets one', () => {
  const r = rig()
  const driver = addGuest(r)
  const guest = addGuest(r, { iommu: false })
  grant(guest, 8, driver.domid, 10)
  guest.poke(10, 0, 0x61)
  const { handle } = mapRef(driver, {
    host_addr: slotAddress(driver, 0),
    flags: HOST | READONLY,
    ref: 8,
    dom: guest.domid,
  })
  give(r, driver, 0)
  const { device } = deviceOf(r, 0)
  const bus = guest.mfn(10) * 4096
  expect(device.read(bus)).toBe(0x61)
  expect(device.write(bus, 1)).toBe(BLOCKED)
  expect(unmapRef(driver, { host_addr: slotAddress(driver, 0), handle })).toBe(0)
  expect(device.read(bus)).toBe(BLOCKED)
})

test('what enters a mirror is seen at once by a unit that has noted that nothing was there (VT-d 6.1, caching mode)', () => {
  const silicon = vtdPersonalities['sandybridge-ep']
  const capLow = silicon.capLow | vtd.Capability.cachingMode
  const capabilities = vtd.decodeCapabilities({ ...silicon, capLow })
  const { dom0, guest, device, bus } = system({
    install: (machine) => void installVtd(machine, { ...silicon, capLow, capabilities }),
  })
  expect(device.read(bus)).toBe(BLOCKED)
  expect(mapRef(dom0, { flags: DEVICE, ref: 8, dom: guest.domid }).status).toBe(GNTST.okay)
  expect(device.read(bus)).toBe(0xd1)
  // A page table that is memory again.
  const mfn = dom0.mfn(20)
  const mmuext = (cmd: number): number => {
    dom0.put(mmuext_op, { cmd, arg1: BigInt(mfn), arg2: 0n })
    return dom0.call(HYPERCALL.mmuext_op, dom0.argument, 1)
  }
  expect([mmuext(MMUEXT.PIN_L1_TABLE), device.read(mfn * 4096)]).toEqual([0, BLOCKED])
  expect([mmuext(MMUEXT.UNPIN_TABLE), device.read(mfn * 4096)]).toEqual([0, 0])
  // A frame that was given back, and comes again.
  const gone = dom0.mfn(21)
  const exchange = (): number => {
    dom0.putU64([dom0.mfn(21)])
    expect(decrease(dom0)).toBe(1)
    expect(device.read(gone * 4096)).toBe(BLOCKED)
    expect(populate(dom0, 0, [21])).toBe(1)
    return dom0.mfn(21)
  }
  for (let i = 0; i < 50 && exchange() !== gone; i++);
  expect([dom0.mfn(21), device.read(gone * 4096)]).toEqual([gone, 0])
})
