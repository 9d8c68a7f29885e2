import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DOMID,
  Errno,
  GNTMAP,
  GNTST,
  IOMMU_FLAG,
  IOMMU_OP,
  MAP_ELEMENT_FLAGS,
  XENMAPSPACE,
  XENMEM,
  XEN_DOMCTL,
  XEN_DOMINF,
  domctl_getdomaininfo,
  iommu_set_fault_ring,
  xen_add_to_physmap,
  xen_add_to_physmap_batch,
  xen_domctl,
  xen_remove_from_physmap,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, assignment, deviceOf, domctl, give, iommuOp, resetDevice, setLimits } from './builder.ts'
import { entryFlags, grant, mapRef, slotAddress, unmapRef } from './grants.ts'
import { mapGrants, mapList, page, unmapGrants, unmapList } from './lists.ts'
import { type Guest, type Rig, rig } from './rig.ts'

const HOST = GNTMAP.host_map
const destroy = (r: Rig, guest: Guest): number => domctl(r.dom0, XEN_DOMCTL.destroydomain, guest.domid, xen_domctl).rc

test('a domain with everything dies: devices first, every reference to zero, every frame free (facts C, domain death order; I19)', () => {
  const r = rig()
  const { freeFrames, hypervisorFrames } = r.hypervisor.snapshot()
  const owner = addGuest(r, { iommu: false })
  const driver = addGuest(r)
  give(r, driver, 0, { kind: DEFAULT_KIND.EMPTY, deferred: 100 })
  for (const ref of [8, 9, 10]) grant(owner, ref, driver.domid, ref + 2)
  grant(driver, 8, owner.domid, 20)
  const { device } = deviceOf(r, 0)
  const mapped = mapList(driver, 0, [
    page(driver, 10, { flags: MAP_ELEMENT_FLAGS.ANY }),
    page(driver, 11, { flags: MAP_ELEMENT_FLAGS.FOLLOWS }),
    page(driver, 12, { io_address: 0x80_0000n }),
  ])
  expect(mapped.rc).toBe(0)
  unmapList(driver, 0, [{ io_address: 0x80_0000n, pages: 1n }], { flags: IOMMU_FLAG.NO_FLUSH })
  const granted = mapGrants(driver, 0, [{ domid: owner.domid, ref: 8, access: 3, flags: 1 }]).elements[0]!
  mapRef(driver, { host_addr: slotAddress(driver, 0), flags: HOST, ref: 9, dom: owner.domid })
  mapRef(driver, { host_addr: slotAddress(driver, 1), flags: HOST | GNTMAP.device_map, ref: 10, dom: owner.domid })
  driver.putU64([driver.mfn(41)])
  iommuOp(driver, IOMMU_OP.set_fault_ring, iommu_set_fault_ring, {
    control_gfn: BigInt(driver.mfn(40)),
    gfns: { array: BigInt(driver.list), count: 1, stride: 8 },
  })
  driver.op('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, {
    domid: DOMID.SELF,
    space: XENMAPSPACE.shared_info,
    gpfn: BigInt(driver.view.memory.pages - 3),
  })
  const io = Number(granted.io_address)
  expect(device.read(io)).toBe(0)
  expect(destroy(r, driver)).toBe(0)
  expect(device.read(io)).toBe(DmaOutcome.blocked)
  expect([8, 9, 10].map((ref) => entryFlags(owner, ref))).toEqual([1, 1, 1])
  expect(r.hypervisor.snapshot().references).toBe(0)
  expect(domctl(r.dom0, XEN_DOMCTL.getdomaininfo, driver.domid, domctl_getdomaininfo).rc).toBe(-Errno.ESRCH)
  expect(driver.call(43, 0, driver.argument)).toBe(-Errno.ESRCH)
  expect(driver.view.memory.frameOffset(10)).toBe(-1)
  expect(destroy(r, driver)).toBe(-Errno.ESRCH)
  // Its device is quarantined, and clean only after a reset.
  expect(r.dom0.view.devices()).not.toContain(deviceOf(r, 0).sbdf)
  const next = addGuest(r)
  setLimits(r.dom0, next.domid, {})
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, next.domid, deviceOf(r, 0).sbdf)).toBe(-Errno.EBUSY)
  expect(resetDevice(r.dom0, deviceOf(r, 0).sbdf)).toBe(0)
  expect(assignment(r.dom0, XEN_DOMCTL.assign_device, next.domid, deviceOf(r, 0).sbdf)).toBe(0)
  expect(destroy(r, next)).toBe(0)
  expect(destroy(r, owner)).toBe(0)
  const after = r.hypervisor.snapshot()
  expect(after).toMatchObject({ references: 0 })
  expect(after.mappings.made).toBe(after.mappings.ended)
  expect(after.grantMaps.made).toBe(after.grantMaps.ended)
  expect(after.freeFrames - freeFrames).toBe(hypervisorFrames - after.hypervisorFrames)
  expect(after.domains.map(({ domid }) => domid)).toEqual([0])
})

test('a granter that dies while its frame is mapped stays as a shell until the last map ends (facts C; dead granter)', () => {
  const r = rig()
  const guest = addGuest(r, { iommu: false })
  const driver = addGuest(r)
  give(r, driver, 0, { kind: DEFAULT_KIND.EMPTY })
  const { device } = deviceOf(r, 0)
  grant(guest, 8, driver.domid, 10)
  grant(guest, 9, driver.domid, 11)
  guest.poke(10, 0, 0x99)
  const frame = guest.mfn(10)
  const host = mapRef(driver, { host_addr: slotAddress(driver, 0), flags: HOST, ref: 9, dom: guest.domid })
  const { handle, io_address } = mapGrants(driver, 0, [{ domid: guest.domid, ref: 8, access: 3, flags: 1 }])
    .elements[0]!
  expect(destroy(r, guest)).toBe(0)
  const info = () => domctl(r.dom0, XEN_DOMCTL.getdomaininfo, guest.domid, domctl_getdomaininfo)
  expect(info().out.u.flags & XEN_DOMINF.dying).toBe(XEN_DOMINF.dying)
  expect(info().out.u.tot_pages).toBe(2n)
  expect(device.read(Number(io_address))).toBe(0x99)
  expect(r.hypervisor.oracle.frame(frame)).toMatchObject({ owner: guest.domid })
  // Nothing new of it: not by reference, not by privilege.
  expect(mapRef(driver, { host_addr: slotAddress(driver, 1), flags: HOST, ref: 9, dom: guest.domid }).status).toBe(
    GNTST.general_error,
  )
  expect(mapGrants(driver, 0, [{ domid: guest.domid, ref: 8, access: 1, flags: 1 }]).elements[0]!.status).toBe(
    GNTST.general_error,
  )
  expect(unmapRef(driver, { host_addr: slotAddress(driver, 0), handle: host.handle })).toBe(0)
  expect(info().out.u.tot_pages).toBe(1n)
  expect(unmapGrants(driver, 0, [handle]).rc).toBe(0)
  expect(device.read(Number(io_address))).toBe(DmaOutcome.blocked)
  // The call answers for the next domain: this one is gone.
  expect(info().out.domain).toBe(driver.domid)
  expect(r.hypervisor.snapshot().references).toBe(0)
})

test("foreign pages that the control domain still maps keep a dead domain's frames until it lets go", () => {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  const spare = r.dom0.view.memory.pages - 40
  const value = {
    domid: DOMID.SELF,
    space: XENMAPSPACE.gmfn_foreign,
    size: 1,
    foreign_domid: guest.domid,
    idxs: BigInt(r.dom0.putU64([guest.mfn(5)])),
    gpfns: BigInt(r.dom0.putU64([spare], r.dom0.list + 64)),
    errs: BigInt(r.dom0.list + 128),
  }
  expect(r.dom0.op('memory_op', XENMEM.add_to_physmap_batch, xen_add_to_physmap_batch, value).rc).toBe(0)
  expect(destroy(r, guest)).toBe(0)
  expect(r.hypervisor.snapshot().domains.map(({ life }) => life)).toEqual(['running', 'dying'])
  expect(
    r.dom0.op('memory_op', XENMEM.remove_from_physmap, xen_remove_from_physmap, {
      domid: DOMID.SELF,
      gpfn: BigInt(spare),
    }).rc,
  ).toBe(0)
  expect(r.hypervisor.snapshot().domains.map(({ domid }) => domid)).toEqual([0])
})

test('a destroyed domain runs nothing more, not even cleanups, whose memory is somebody else’s by then; its gate is closed', async () => {
  const r = rig({ iommu: false })
  const guest = addGuest(r, { iommu: false })
  const log: (number | string)[] = []
  guest.view.tasks.spawn('worker', async () => {
    try {
      await r.machine.scheduler.queue('nothing').wait()
    } finally {
      log.push('cleaned up')
    }
  })
  r.dom0.view.tasks.spawn('killer', async () => {
    await r.machine.scheduler.sleep(1000)
    log.push(destroy(r, guest))
    await r.machine.scheduler.sleep(1000)
    log.push(guest.call(17, 0), guest.view.read32(0xe000_0000), guest.view.configRead(0, 0, 4))
  })
  expect(await r.machine.scheduler.run()).toEqual({ kind: 'finished' })
  expect(log).toEqual([0, -Errno.ESRCH, 0xffff_ffff, 0xffff_ffff])
  expect(r.crashes).toEqual([])
})
