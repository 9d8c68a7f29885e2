/** An AMD-Vi unit in front of memory: its own function is nobody's, and interrupts of devices are checked by source. */
import { expect, test } from 'vitest'
import {
  DOMID,
  EVTCHNOP,
  Errno,
  MAP_PIRQ_TYPE,
  PHYSDEVOP,
  XEN_DOMCTL,
  evtchn_bind_pirq,
  iommu_name_device,
  IOMMU_OP,
  physdev_map_pirq,
  physdev_unmap_pirq,
} from '@iospace/abi'
import { findAmdviUnit } from '@iospace/iommu/driver'
import { Capability, DmaOutcome, Msi } from '@iospace/machine'
import { addGuest, assignment, deviceOf, give, iommuOp, resetDevice } from './builder.ts'
import { type Guest, rig, type TestDevice } from './rig.ts'

/** Where boards have the unit's function: 00:00.2. */
const UNIT = 0x02

test('the unit’s function is no device: no domain sees it, nobody gets it (facts B.1; invariants: the fault interrupt is the hypervisor’s)', () => {
  const r = rig({ iommu: 'amdvi' })
  const { dom0 } = r
  const guest = addGuest(r)
  expect(findAmdviUnit(r.machine.pci)?.bdf).toBe(UNIT)
  expect(dom0.view.devices()).toEqual([deviceOf(r, 0).sbdf, deviceOf(r, 1).sbdf])
  expect(dom0.view.configRead(UNIT, 0, 4)).toBe(0xffff_ffff)
  expect(assignment(dom0, XEN_DOMCTL.test_assign_device, guest.domid, UNIT)).toBe(-Errno.ENODEV)
  expect(assignment(dom0, XEN_DOMCTL.assign_device, guest.domid, UNIT)).toBe(-Errno.ENODEV)
  expect(resetDevice(dom0, UNIT)).toBe(-Errno.ENODEV)
  const named = { domid: guest.domid, machine_device: UNIT, device: 0x30 }
  expect(iommuOp(dom0, IOMMU_OP.name_device, iommu_name_device, named).rc).toBe(-Errno.ENODEV)
  const { pci } = r.machine
  const msi = r.machine.pci.at(UNIT)!.config.findCapability(Capability.msi)
  const before = [0, 4, 8, 12].map((offset) => pci.configRead(UNIT, msi + offset, 4))
  for (const offset of [Msi.control, Msi.address, Msi.upperAddress, Msi.data])
    for (const who of [dom0, guest]) who.view.configWrite(UNIT, msi + offset, 2, 0x41)
  expect([0, 4, 8, 12].map((offset) => pci.configRead(UNIT, msi + offset, 4))).toEqual(before)
})

test('a device raises what its owner mapped, and forges nothing, whatever it sends (attack: forged MSI)', () => {
  const r = rig({ iommu: 'amdvi' })
  const guest = addGuest(r)
  // Without the consent to unsafe interrupts: they are safe.
  give(r, guest, 0, { permissions: 0 })
  const { sbdf, device } = deviceOf(r, 0)
  const { received } = r.machine.interrupts
  const pirq = mapPirq(guest, sbdf)
  guest.op('event_channel_op', EVTCHNOP.bind_pirq, evtchn_bind_pirq, { pirq })
  const own = raised(received, () => device.interrupt())
  expect(own).toHaveLength(1)
  expect(raised(received, () => forge(device))).toEqual(own)
  // A device that has none raises none.
  expect(raised(received, () => forge(deviceOf(r, 1).device))).toEqual([])
  expect(r.hypervisor.snapshot().spuriousInterrupts).toBe(0)
})

test('an interrupt is gone with the device, and the pages of its table come back', () => {
  const r = rig({ iommu: 'amdvi' })
  const guest = addGuest(r)
  give(r, guest, 0, { permissions: 0 })
  const { sbdf, device } = deviceOf(r, 0)
  const own = new Set(r.hypervisor.oracle.iommuFrames())
  const pirq = mapPirq(guest, sbdf)
  expect(r.hypervisor.oracle.iommuFrames()).toHaveLength(own.size + 1)
  guest.op('physdev_op', PHYSDEVOP.unmap_pirq, physdev_unmap_pirq, { domid: DOMID.SELF, pirq })
  expect(new Set(r.hypervisor.oracle.iommuFrames())).toEqual(own)
  mapPirq(guest, sbdf)
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, guest.domid, sbdf)).toBe(0)
  expect(raised(r.machine.interrupts.received, () => forge(device))).toEqual([])
})

function mapPirq(guest: Guest, sbdf: number): number {
  const { rc, out } = guest.op('physdev_op', PHYSDEVOP.map_pirq, physdev_map_pirq, {
    domid: DOMID.SELF,
    type: MAP_PIRQ_TYPE.MSI_SEG,
    index: -1,
    pirq: -1,
    bus: sbdf >> 8,
    devfn: sbdf & 0xff,
  })
  expect(rc).toBe(0)
  return out.pirq
}

/** The unit's own message: it tells of what was blocked. */
const FAULT_VECTOR = 0xf0

/** Vectors of devices that arrive during `action`, each once. */
function raised(received: Uint32Array, action: () => void): number[] {
  received.fill(0)
  action()
  return [...received.keys()].filter((vector) => received[vector]! > 0 && vector !== FAULT_VECTOR)
}

/** Every vector with every delivery mode, which are the remapper's indices too. */
function forge(device: TestDevice): void {
  const { view } = device.root!.memory
  for (let data = 0; data < 0x800; data++) {
    view.setUint32(device.at, data, true)
    const outcome = device.dmaWrite(0, 0xfee0_0000 | 0, device.at, 4)
    expect([DmaOutcome.blocked, DmaOutcome.untranslated, DmaOutcome.masterDisabled]).toContain(outcome)
  }
}
