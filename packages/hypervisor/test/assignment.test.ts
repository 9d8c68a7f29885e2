import { expect, test } from 'vitest'
import {
  DEFAULT_KIND,
  DEVICE_STATE,
  DOMID,
  EVTCHNOP,
  Errno,
  GROUP_REASON,
  IOMMU_OP,
  LIMIT_PERMISSION,
  MAP_PIRQ_TYPE,
  PHYSDEVOP,
  SPACE_NONE,
  XENMAPSPACE,
  XENMEM,
  XEN_DOMCTL,
  XEN_DOMCTL_CDF,
  domctl_createdomain,
  domctl_get_device_group,
  domctl_iomem_permission,
  evtchn_bind_pirq,
  iommu_attach_device,
  iommu_detach_device,
  iommu_name_device,
  iommu_query_device,
  physdev_map_pirq,
  physdev_unmap_pirq,
  vcpu_info,
  xen_add_to_physmap,
  xen_domctl,
  xen_memory_reservation,
} from '@iospace/abi'
import { Capability, Config, DmaOutcome, Msi } from '@iospace/machine'
import { answer } from './answers.ts'
import { addGuest, assignment, deviceOf, domctl, give, iommuOp, resetDevice, setLimits } from './builder.ts'
import { CALGARY_BOARD, type Guest, type Rig, TestDevice, rig } from './rig.ts'

const ASSIGN = XEN_DOMCTL.assign_device
const TEST = XEN_DOMCTL.test_assign_device
const DEASSIGN = XEN_DOMCTL.deassign_device
const state = (r: Rig, domid: number, device: number) =>
  iommuOp(r.dom0, IOMMU_OP.query_device, iommu_query_device, { domid, device })

test('assign, test, deassign and quarantine answer as Xen 4.17 with VT-d does (xen-answers)', () => {
  const r = rig()
  const { dom0 } = r
  const guest = addGuest(r)
  const { sbdf, device } = deviceOf(r, 0)
  expect(setLimits(dom0, guest.domid, {})).toBe(0)
  expect(resetDevice(dom0, sbdf)).toBe(0)
  expect(assignment(dom0, TEST, guest.domid, sbdf)).toBe(answer('assign.test_free', 'vtd'))
  expect(assignment(dom0, TEST, DOMID.INVALID, sbdf)).toBe(0)
  expect(assignment(dom0, ASSIGN, guest.domid, 0x7f00)).toBe(answer('assign.absent_device', 'vtd'))
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf, 0x100)).toBe(answer('assign.bad_flags', 'vtd'))
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(answer('assign.good', 'vtd'))
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(-Errno.EBUSY)
  expect(assignment(dom0, TEST, guest.domid, sbdf)).toBe(-Errno.EINVAL)
  expect(assignment(dom0, DEASSIGN, guest.domid, deviceOf(r, 1).sbdf)).toBe(-Errno.ENODEV)
  // An assigned device reads and writes its domain's pages by frame number.
  guest.view.configWrite(sbdf, 4, 2, 6)
  guest.poke(10, 0, answer('xdom.map_good > data'))
  expect(device.read(guest.mfn(10) * 4096)).toBe(answer('assigned.device_copied_domU_page0_to_page1', 'vtd'))
  expect(device.read(dom0.mfn(10) * 4096)).toBe(DmaOutcome.blocked)
  // A page given back becomes unreachable.
  const frame = guest.mfn(10)
  const list = BigInt(guest.putU64([frame]))
  const rc = guest.op('memory_op', XENMEM.decrease_reservation, xen_memory_reservation, {
    extent_start: list,
    nr_extents: 1n,
    domid: DOMID.SELF,
  }).rc
  expect(rc).toBe(answer('assigned.decrease_page1', 'vtd'))
  expect(device.read(frame * 4096)).toBe(DmaOutcome.blocked)
  expect(assignment(dom0, DEASSIGN, guest.domid, sbdf)).toBe(answer('assign.deassign', 'vtd'))
  expect(device.read(guest.mfn(11) * 4096)).toBe(DmaOutcome.blocked)
  expect(assignment(dom0, ASSIGN, 0, sbdf)).toBe(answer('assign.to_dom0', 'vtd'))
  expect(assignment(dom0, DEASSIGN, DOMID.IO, sbdf)).toBe(answer('quarantine.deassign_from_DOMID_IO', 'vtd'))
  expect(dom0.view.devices()).toContain(sbdf)
  expect(assignment(dom0, ASSIGN, 77, sbdf)).toBe(answer('assign.to_destroyed', 'vtd'))
})

test('without an IOMMU assignment is −EOPNOTSUPP, unless the control domain says unsafe passthrough (xen-answers; abi.md, Groups)', () => {
  const r = rig({ iommu: false })
  const { dom0 } = r
  const guest = addGuest(r, { iommu: false })
  const { sbdf, device } = deviceOf(r, 0)
  expect(assignment(dom0, TEST, guest.domid, sbdf)).toBe(answer('assign.test_free'))
  expect(assignment(dom0, ASSIGN, guest.domid, 0x7f00)).toBe(answer('assign.absent_device'))
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf, 0x100)).toBe(answer('assign.bad_flags'))
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(answer('assign.good'))
  expect(assignment(dom0, DEASSIGN, guest.domid, sbdf)).toBe(answer('assign.deassign'))
  expect(assignment(dom0, ASSIGN, 0, sbdf)).toBe(answer('assign.to_dom0'))
  expect(assignment(dom0, DEASSIGN, DOMID.IO, sbdf)).toBe(answer('quarantine.deassign_from_DOMID_IO'))
  expect(assignment(dom0, ASSIGN, 77, sbdf)).toBe(answer('assign.to_destroyed'))
  expect(
    domctl(dom0, XEN_DOMCTL.createdomain, 0, domctl_createdomain, { flags: XEN_DOMCTL_CDF.iommu, max_vcpus: 1 }).rc,
  ).toBe(-Errno.EINVAL)
  expect(setLimits(dom0, guest.domid, { permissions: LIMIT_PERMISSION.UNSAFE_PASSTHROUGH })).toBe(0)
  resetDevice(dom0, sbdf)
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(0)
  guest.view.configWrite(sbdf, 4, 2, 6)
  dom0.poke(20, 0, 0x5d)
  // Nothing confines it: that is what the consent is for.
  expect(device.read(dom0.mfn(20) * 4096)).toBe(0x5d)
  expect(assignment(dom0, DEASSIGN, guest.domid, sbdf)).toBe(0)
  expect(device.read(dom0.mfn(20) * 4096)).toBe(DmaOutcome.masterDisabled)
  expect(assignment(dom0, DEASSIGN, DOMID.IO, sbdf)).toBe(0)
  dom0.view.configWrite(sbdf, Config.command, 2, 6)
  expect(device.read(dom0.mfn(20) * 4096)).toBe(DmaOutcome.masterDisabled)
  expect(resetDevice(dom0, sbdf)).toBe(0)
  dom0.view.configWrite(sbdf, Config.command, 2, 6)
  expect(device.read(dom0.mfn(20) * 4096)).toBe(0x5d)
})

test('what the control domain takes out of quarantine does nothing there of what its last owner left in it, until it is reset (XSA-302)', () => {
  const r = rig()
  const { dom0 } = r
  const guest = addGuest(r)
  give(r, guest, 0)
  const { sbdf, device } = deviceOf(r, 0)
  expect(assignment(dom0, DEASSIGN, guest.domid, sbdf)).toBe(0)
  expect(assignment(dom0, DEASSIGN, DOMID.IO, sbdf)).toBe(0)
  expect(state(r, 0, sbdf).out).toMatchObject({ space: 0, state: DEVICE_STATE.FENCED })
  // Not even when the driver switches bus mastering on before it sets the device up.
  dom0.view.configWrite(sbdf, Config.command, 2, 6)
  expect(device.write(dom0.mfn(20) * 4096, 1)).toBe(DmaOutcome.masterDisabled)
  expect(resetDevice(dom0, sbdf)).toBe(0)
  dom0.view.configWrite(sbdf, Config.command, 2, 6)
  expect(device.write(dom0.mfn(20) * 4096, 1)).toBe(DmaOutcome.translated)
  // One that was reset in quarantine can be used at once.
  expect(assignment(dom0, ASSIGN, DOMID.IO, sbdf)).toBe(0)
  expect(resetDevice(dom0, sbdf)).toBe(0)
  expect(assignment(dom0, DEASSIGN, DOMID.IO, sbdf)).toBe(0)
  expect(state(r, 0, sbdf).out.state).toBe(DEVICE_STATE.ATTACHED)
})

test('a device changes hands only after a reset since its last owner (abi.md, Groups and assignment)', () => {
  const r = rig()
  const { dom0 } = r
  const guest = addGuest(r)
  const { sbdf, device } = deviceOf(r, 0)
  setLimits(dom0, guest.domid, {})
  dom0.view.configWrite(sbdf, 4, 2, 6)
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(-Errno.EBUSY)
  const bar = dom0.view.configRead(sbdf, Config.bar0, 4)
  expect(resetDevice(dom0, sbdf)).toBe(0)
  expect(device.config.read(Config.command, 2)).toBe(0)
  expect(dom0.view.configRead(sbdf, Config.bar0, 4)).toBe(bar)
  expect(device.config.read(Config.bar0, 4)).toBe(bar)
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(0)
  expect(assignment(dom0, DEASSIGN, guest.domid, sbdf)).toBe(0)
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(-Errno.EBUSY)
  expect(resetDevice(dom0, sbdf)).toBe(0)
  expect(assignment(dom0, ASSIGN, guest.domid, sbdf)).toBe(0)
  expect(guest.op('physdev_op', PHYSDEVOP.pci_device_reset, physdev_unmap_pirq, {}).rc).toBe(-Errno.EPERM)
})

test("interrupts that are not isolated need the control domain's consent; a domain without an IOMMU flag gets no device", () => {
  const r = rig({ iommu: 'calgary', ...CALGARY_BOARD })
  const guest = addGuest(r)
  const plain = addGuest(r, { iommu: false })
  const { sbdf } = deviceOf(r, 0)
  resetDevice(r.dom0, sbdf)
  expect(assignment(r.dom0, ASSIGN, guest.domid, sbdf)).toBe(-Errno.EPERM)
  setLimits(r.dom0, guest.domid, { permissions: LIMIT_PERMISSION.UNSAFE_INTERRUPTS })
  setLimits(r.dom0, plain.domid, {})
  expect(assignment(r.dom0, ASSIGN, plain.domid, sbdf)).toBe(-Errno.EOPNOTSUPP)
  expect(assignment(r.dom0, ASSIGN, guest.domid, sbdf)).toBe(0)
})

/** Two functions behind a bridge to conventional PCI, which speaks for both. */
function conventional() {
  const r = rig({
    devices: 1,
    before: (machine) => {
      const bus = machine.pci.addBridge(0, 0x40, 'conventional')
      return [0, 8].map(
        (devfn) => machine.pci.add(bus, devfn, new TestDevice(machine, { express: false })) as TestDevice,
      )
    },
  })
  const [a, b] = r.devices.slice(-2) as [TestDevice, TestDevice]
  return { r, a, b }
}

test('a group has one owner: assigning a member while another is elsewhere is −EXDEV (abi.md, Groups)', () => {
  const { r, a, b } = conventional()
  const { dom0 } = r
  const guest = addGuest(r)
  setLimits(dom0, guest.domid, { spaces: 2 })
  expect(a.requester).toBe(b.requester)
  expect(resetDevice(dom0, a.bdf)).toBe(0)
  expect(assignment(dom0, ASSIGN, guest.domid, a.bdf)).toBe(-Errno.EXDEV)
  expect(
    domctl(dom0, XEN_DOMCTL.get_device_group, 0, domctl_get_device_group, {
      machine_sbdf: a.bdf,
      max_sdevs: 8,
      sdev_array: BigInt(dom0.list),
    }),
  ).toMatchObject({ rc: 0, out: { u: { num_sdevs: 1 } } })
  expect(dom0.view.memory.view.getUint32(dom0.offset(dom0.list), true)).toBe(b.bdf)
  // The control domain gives the mate up; then the group can move, one after another.
  expect(assignment(dom0, ASSIGN, DOMID.IO, b.bdf)).toBe(0)
  expect(assignment(dom0, ASSIGN, guest.domid, a.bdf)).toBe(0)
  expect(resetDevice(dom0, b.bdf)).toBe(-Errno.EBUSY)
  expect(state(r, guest.domid, a.bdf).out).toMatchObject({
    members: 2,
    own_members: 1,
    reasons: GROUP_REASON.BRIDGE_ALIAS,
    state: DEVICE_STATE.ATTACHED,
  })
})

test('a member that joins a group whose owner has blocked it is blocked with it', () => {
  const { r, a, b } = conventional()
  const guest = addGuest(r)
  setLimits(r.dom0, guest.domid, { spaces: 2 })
  for (const { bdf } of [a, b]) expect(assignment(r.dom0, ASSIGN, DOMID.IO, bdf)).toBe(0)
  expect(resetDevice(r.dom0, a.bdf)).toBe(0)
  expect(assignment(r.dom0, ASSIGN, guest.domid, a.bdf)).toBe(0)
  expect(iommuOp(guest, IOMMU_OP.detach_device, iommu_detach_device, { device: a.bdf }).rc).toBe(0)
  expect(assignment(r.dom0, ASSIGN, guest.domid, b.bdf)).toBe(0)
  expect(state(r, guest.domid, b.bdf).out).toMatchObject({ space: SPACE_NONE, state: DEVICE_STATE.BLOCKED })
  guest.view.configWrite(b.bdf, Config.command, 2, 6)
  expect(b.read(guest.mfn(9) * 4096)).toBe(DmaOutcome.blocked)
  // Both switch together.
  expect(iommuOp(guest, IOMMU_OP.attach_device, iommu_attach_device, { device: a.bdf, space: 0 })).toMatchObject({
    rc: 0,
    out: { members: 2 },
  })
  expect([state(r, guest.domid, b.bdf).out.space, b.read(guest.mfn(9) * 4096)]).toEqual([0, 0])
})

test("configuration space: BARs do not move, their size can be read, interrupt registers are the hypervisor's (abi.md, mediated)", () => {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0)
  const { sbdf, device } = deviceOf(r, 0)
  const { view } = guest
  const bar = view.configRead(sbdf, Config.bar0, 4)
  view.configWrite(sbdf, Config.bar0, 4, 0xffff_ffff)
  expect(view.configRead(sbdf, Config.bar0, 4)).toBe(0xffff_f000)
  view.configWrite(sbdf, Config.bar0, 4, 0xfed9_0000)
  expect(view.configRead(sbdf, Config.bar0, 4)).toBe(bar)
  expect(device.config.read(Config.bar0, 4)).toBe(bar)
  const msi = device.config.findCapability(Capability.msi)
  view.configWrite(sbdf, msi + Msi.address, 4, 0xfee0_0000)
  view.configWrite(sbdf, msi + Msi.data, 2, 0x41)
  view.configWrite(sbdf, msi + Msi.control, 2, Msi.enable)
  expect([msi + Msi.address, msi + Msi.data].map((at) => device.config.read(at, 2))).toEqual([0, 0])
  expect(device.config.read(msi + Msi.control, 2) & Msi.enable).toBe(0)
  view.configWrite(sbdf, Config.command, 2, 0xffff)
  expect(device.config.read(Config.command, 2)).toBe(0x406)
  expect(view.configRead(deviceOf(r, 1).sbdf, 0, 4)).toBe(0xffff_ffff)
  expect(view.configRead(sbdf, Config.vendor + 1, 2)).toBe(0xffff)
  expect(view.configRead(sbdf, Config.device, 2)).toBe(0x5678)
})

test('registers are reached inside the permissions that come with the device, and by nobody else', () => {
  const r = rig()
  const guest = addGuest(r)
  const { sbdf } = deviceOf(r, 0)
  const bar = r.dom0.view.configRead(sbdf, Config.bar0, 4) & ~0xf
  expect(bar >>> 0).toBeGreaterThan(0)
  give(r, guest, 0)
  expect(guest.view.read32((bar >>> 0) + 8)).toBe((8 ^ 0x5a5a5a5a) >>> 0)
  expect(r.dom0.view.read32((bar >>> 0) + 8)).toBe(0xffff_ffff)
  // The IOMMU's own registers are nobody's, and cannot be given away.
  expect(r.dom0.view.read32(0xfed9_0000)).toBe(0xffff_ffff)
  const permit = (mfn: bigint, domid: number) =>
    domctl(r.dom0, XEN_DOMCTL.iomem_permission, domid, domctl_iomem_permission, {
      first_mfn: mfn,
      nr_mfns: 1n,
      allow_access: 1,
    }).rc
  expect(permit(0xfed90n, guest.domid)).toBe(-Errno.EPERM)
  r.dom0.view.configWrite(deviceOf(r, 1).sbdf, Config.command, 2, 2)
  const other = BigInt((r.dom0.view.configRead(deviceOf(r, 1).sbdf, Config.bar0, 4) & ~0xf) >>> 12)
  expect(permit(other, guest.domid)).toBe(0)
  expect(guest.view.read32(Number(other) * 4096)).toBe(0x5a5a5a5a)
})

test("an interrupt arrives at the port that its owner bound; the vector is the hypervisor's (architecture, step 7)", async () => {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0)
  const { sbdf, device } = deviceOf(r, 0)
  const map = (value: object) =>
    guest.op('physdev_op', PHYSDEVOP.map_pirq, physdev_map_pirq, {
      domid: DOMID.SELF,
      type: MAP_PIRQ_TYPE.MSI_SEG,
      index: -1,
      pirq: -1,
      bus: sbdf >> 8,
      devfn: sbdf & 0xff,
      ...value,
    })
  expect(map({ bus: 77 }).rc).toBe(-Errno.ENODEV)
  expect(map({ domid: 0 }).rc).toBe(-Errno.EPERM)
  expect(map({ type: MAP_PIRQ_TYPE.GSI }).rc).toBe(-Errno.EINVAL)
  const { rc, out } = map({})
  expect(rc).toBe(0)
  expect(map({}).rc).toBe(-Errno.EEXIST)
  device.interrupt()
  expect(r.machine.interrupts.received.some((times) => times > 0)).toBe(false)
  const bound = guest.op('event_channel_op', EVTCHNOP.bind_pirq, evtchn_bind_pirq, { pirq: out.pirq })
  expect(bound.rc).toBe(0)
  let upcalls = 0
  guest.view.onUpcall(() => {
    // As a kernel does first; nothing here looks at the bitmaps.
    if (++upcalls > 0) clearUpcall(guest)
  })
  device.interrupt()
  expect(r.hypervisor.snapshot().spuriousInterrupts).toBe(0)
  guest.view.tasks.spawn('idle', () => r.machine.scheduler.sleep(1000))
  await r.machine.scheduler.run()
  expect(upcalls).toBeGreaterThan(0)
  const msi = device.config.findCapability(Capability.msi)
  expect(guest.view.configRead(sbdf, msi + Msi.data, 2)).toBe(0)
  expect(
    guest.op('physdev_op', PHYSDEVOP.unmap_pirq, physdev_unmap_pirq, { domid: DOMID.SELF, pirq: out.pirq }).rc,
  ).toBe(-Errno.EBUSY)
  // A message with a vector that is nobody's is dropped and counted.
  r.machine.interrupts.message(0x40)
  expect(r.hypervisor.snapshot().spuriousInterrupts).toBe(1)
})

/** Steps (4) and (5) of the protocol in abi's vcpu_info. */
function clearUpcall(guest: Guest): void {
  const gpfn = guest.view.memory.pages - 2
  guest.op('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, {
    domid: DOMID.SELF,
    space: XENMAPSPACE.shared_info,
    gpfn: BigInt(gpfn),
  })
  guest.poke(gpfn, vcpu_info.offsets.evtchn_upcall_pending, 0)
  guest.poke(gpfn, vcpu_info.offsets.evtchn_pending_sel, 0)
}

test('a device is named virtually: name_device by the control domain, after assign (abi.md 21)', () => {
  const r = rig()
  const guest = addGuest(r)
  give(r, guest, 0)
  give(r, guest, 1)
  const { sbdf } = deviceOf(r, 0)
  const name = (who: typeof guest, value: object) =>
    iommuOp(who, IOMMU_OP.name_device, iommu_name_device, {
      domid: guest.domid,
      machine_device: sbdf,
      device: 0x30,
      ...value,
    }).rc
  expect(name(guest, {})).toBe(-Errno.EPERM)
  expect(name(r.dom0, { domid: 0 })).toBe(-Errno.ENODEV)
  expect(name(r.dom0, { machine_device: 0x7f00 })).toBe(-Errno.ENODEV)
  expect(name(r.dom0, { device: deviceOf(r, 1).sbdf })).toBe(-Errno.EEXIST)
  expect(name(r.dom0, {})).toBe(0)
  expect(guest.view.devices()).toEqual([0x30, deviceOf(r, 1).sbdf])
  expect(guest.view.configRead(0x30, Config.vendor, 2)).toBe(0x1234)
  expect(state(r, guest.domid, sbdf).rc).toBe(-Errno.ENODEV)
  expect(state(r, guest.domid, 0x30).out).toMatchObject({ space: 0, state: DEVICE_STATE.ATTACHED })
})

test('the default kind is settled with the first assignment (abi, SET_LIMITS_FLAGS.DEFAULT_KIND)', () => {
  const r = rig()
  const guest = addGuest(r)
  expect(setLimits(r.dom0, guest.domid, { kind: DEFAULT_KIND.EMPTY })).toBe(0)
  expect(setLimits(r.dom0, guest.domid, { kind: DEFAULT_KIND.MIRROR })).toBe(0)
  give(r, guest, 0)
  expect(setLimits(r.dom0, guest.domid, { kind: DEFAULT_KIND.EMPTY })).toBe(-Errno.EBUSY)
  expect(setLimits(r.dom0, guest.domid, { kind: 2 })).toBe(-Errno.EINVAL)
  expect(domctl(r.dom0, XEN_DOMCTL.destroydomain, guest.domid, xen_domctl).rc).toBe(0)
  expect(SPACE_NONE).toBe(0xffff_ffff)
})
