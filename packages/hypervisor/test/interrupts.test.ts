/** Interrupts through the unit's remapping: an entry for each pirq, everything else blocked (docs/decisions/0021). */
import { describe, expect, test } from 'vitest'
import {
  DEVICE_STATE,
  DOMID,
  EVTCHNOP,
  Errno,
  IOMMU_FEATURE,
  IOMMU_OP,
  MAP_PIRQ_TYPE,
  PHYSDEVOP,
  XEN_DOMCTL,
  evtchn_bind_pirq,
  evtchn_close,
  iommu_query,
  iommu_query_device,
  physdev_eoi,
  physdev_map_pirq,
  physdev_unmap_pirq,
} from '@iospace/abi'
import { DriverStatus, type IommuDriver } from '@iospace/iommu/driver'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, assignment, deviceOf, give, iommuOp, resetDevice } from './builder.ts'
import { type Guest, rig, type TestDevice } from './rig.ts'

const WINDOW = 0xfee0_0000

/** A message of `device` as it could write any: the outcome on the bus. */
function send(device: TestDevice, address: number, data: number, view: DataView): number {
  view.setUint32(device.at, data, true)
  return device.dmaWrite(0, address | 0, device.at, 4)
}

const mapPirq = (guest: Guest, sbdf: number) =>
  guest.op('physdev_op', PHYSDEVOP.map_pirq, physdev_map_pirq, {
    domid: DOMID.SELF,
    type: MAP_PIRQ_TYPE.MSI_SEG,
    index: -1,
    pirq: -1,
    bus: sbdf >> 8,
    devfn: sbdf & 0xff,
  })
const unmapPirq = (guest: Guest, pirq: number) =>
  guest.op('physdev_op', PHYSDEVOP.unmap_pirq, physdev_unmap_pirq, { domid: DOMID.SELF, pirq }).rc
const bind = (guest: Guest, pirq: number) =>
  guest.op('event_channel_op', EVTCHNOP.bind_pirq, evtchn_bind_pirq, { pirq })

describe.each(['vtd', 'amdvi'])('%s', (iommu) => {
  function system() {
    const r = rig({ iommu })
    const [victim, attacker] = [addGuest(r), addGuest(r)]
    // No consent to unsafe interrupts is needed.
    give(r, victim, 0, { permissions: 0 })
    give(r, attacker, 1, { permissions: 0 })
    const a = deviceOf(r, 0)
    const b = deviceOf(r, 1)
    const { received } = r.machine.interrupts
    return { r, victim, attacker, a, b, arrived: (vector: number) => received[vector]!, view: r.machine.memory.view }
  }

  test('interrupts are isolated, and told to be', () => {
    const { victim } = system()
    const { features } = iommuOp(victim, IOMMU_OP.query, iommu_query, {}).out
    expect(features & BigInt(IOMMU_FEATURE.INTERRUPTS_ISOLATED)).toBe(BigInt(IOMMU_FEATURE.INTERRUPTS_ISOLATED))
  })

  test('a bound pirq arrives; the same message from another device does not, nor does a plain one', () => {
    const { r, victim, a, b, arrived, view } = system()
    const { rc, out } = mapPirq(victim, a.sbdf)
    expect([rc, bind(victim, out.pirq).rc]).toEqual([0, 0])
    const { address, data, vector } = r.hypervisor.oracle.interruptOf(a.sbdf)!
    a.device.interrupt()
    expect(arrived(vector)).toBe(1)
    send(b.device, address, data, view)
    for (let plain = 0; plain < 256; plain++) send(b.device, WINDOW, plain, view)
    expect(arrived(vector)).toBe(1)
    expect(r.machine.interrupts.received.reduce((sum, times) => sum + times, 0)).toBeLessThanOrEqual(
      // Its own, and those by which the unit says that it logged faults.
      1 + r.machine.interrupts.received[0xf0]!,
    )
  })

  test('two devices have entries of their own: each raises its own vector by its own message', () => {
    const { r, victim, attacker, a, b, arrived } = system()
    for (const [guest, { sbdf }] of [
      [victim, a],
      [attacker, b],
    ] as const)
      expect(bind(guest, mapPirq(guest, sbdf).out.pirq).rc).toBe(0)
    const vectors = [a, b].map(({ sbdf }) => r.hypervisor.oracle.interruptOf(sbdf)!.vector)
    expect(vectors[0]).not.toBe(vectors[1])
    a.device.interrupt()
    expect(vectors.map(arrived)).toEqual([1, 0])
    b.device.interrupt()
    expect(vectors.map(arrived)).toEqual([1, 1])
  })

  test('after unmap_pirq the message that worked is blocked, from the very device that sent it', () => {
    const { r, victim, a, arrived, view } = system()
    const { out } = mapPirq(victim, a.sbdf)
    const port = bind(victim, out.pirq).out.port
    const { address, data, vector } = r.hypervisor.oracle.interruptOf(a.sbdf)!
    expect(victim.op('event_channel_op', EVTCHNOP.close, evtchn_close, { port }).rc).toBe(0)
    expect(unmapPirq(victim, out.pirq)).toBe(0)
    expect(send(a.device, address, data, view)).toBeLessThan(0)
    expect(arrived(vector)).toBe(0)
  })

  test('a device that is given back raises nothing any more', () => {
    const { r, victim, a, arrived, view } = system()
    const { out } = mapPirq(victim, a.sbdf)
    bind(victim, out.pirq)
    const { address, data, vector } = r.hypervisor.oracle.interruptOf(a.sbdf)!
    expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, victim.domid, a.sbdf)).toBe(0)
    expect(send(a.device, address, data, view)).not.toBe(DmaOutcome.untranslated)
    expect(arrived(vector)).toBe(0)
  })

  test('entries come back: pirqs can be mapped and unmapped for ever', () => {
    const { victim, a } = system()
    for (let i = 0; i < 3000; i++) {
      const { rc, out } = mapPirq(victim, a.sbdf)
      if (rc !== 0 || unmapPirq(victim, out.pirq) !== 0) throw new Error(`turn ${i}: ${rc}`)
    }
  })
})

test('pirqs: a number is wanted or picked, is its domain’s, and is there once (xen/arch/x86/physdev.c)', () => {
  const r = rig()
  const [guest, other] = [addGuest(r), addGuest(r)]
  give(r, guest, 0)
  give(r, guest, 1)
  const [a, b] = [deviceOf(r, 0), deviceOf(r, 1)]
  const map = (who: Guest, sbdf: number, value: object) =>
    who.op('physdev_op', PHYSDEVOP.map_pirq, physdev_map_pirq, {
      domid: DOMID.SELF,
      type: MAP_PIRQ_TYPE.MSI_SEG,
      index: -1,
      pirq: -1,
      bus: sbdf >> 8,
      devfn: sbdf & 0xff,
      ...value,
    }).rc
  expect(map(guest, a.sbdf, { entry_nr: 1 })).toBe(-Errno.EOPNOTSUPP)
  expect(map(guest, a.sbdf, { pirq: 256 })).toBe(-Errno.ENOSPC)
  // The control domain may map for another one.
  expect(map(r.dom0, a.sbdf, { domid: guest.domid, pirq: 40 })).toBe(0)
  expect(map(r.dom0, a.sbdf, { domid: 77 })).toBe(-Errno.ESRCH)
  expect(map(guest, b.sbdf, { pirq: 40 })).toBe(-Errno.ENOSPC)
  expect(map(other, a.sbdf, {})).toBe(-Errno.ENODEV)
  const eoi = (who: Guest, irq: number) => who.op('physdev_op', PHYSDEVOP.eoi, physdev_eoi, { irq }).rc
  expect([eoi(guest, 40), eoi(other, 40)]).toEqual([0, -Errno.EINVAL])
  const unmap = (who: Guest, pirq: number, domid: number = DOMID.SELF) =>
    who.op('physdev_op', PHYSDEVOP.unmap_pirq, physdev_unmap_pirq, { domid, pirq }).rc
  expect([unmap(other, 40), unmap(other, 40, guest.domid)]).toEqual([-Errno.EINVAL, -Errno.EPERM])
  expect(bind(guest, 40).rc).toBe(0)
  expect(bind(guest, 40).rc).toBe(-Errno.EEXIST)
  expect([unmap(guest, 40), unmap(r.dom0, 40, guest.domid)]).toEqual([-Errno.EBUSY, -Errno.EBUSY])
})

test('a vector whose entry the unit did not confirm, made or ended, is never given to anybody again (decision 0021)', () => {
  let fails: 'mapInterrupt' | 'unmapInterrupt' | null = null
  const wrap = (driver: IommuDriver): IommuDriver =>
    new Proxy(driver, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        return (...a: unknown[]) => {
          const result: unknown = (value as (...a: unknown[]) => unknown).apply(target, a)
          // It has its effect, but says nothing.
          return name === fails ? DriverStatus.timedOut : result
        }
      },
    })
  const r = rig({ iommu: 'amdvi', wrap })
  const [victim, attacker] = [addGuest(r), addGuest(r)]
  give(r, victim, 0, { permissions: 0 })
  give(r, attacker, 1, { permissions: 0 })
  const [a, b] = [deviceOf(r, 0), deviceOf(r, 1)]
  const state = () => iommuOp(attacker, IOMMU_OP.query_device, iommu_query_device, { device: b.sbdf }).out.state
  const restart = () => {
    for (const [guest, { sbdf }] of [
      [victim, a],
      [attacker, b],
    ] as const) {
      expect(resetDevice(r.dom0, sbdf)).toBe(0)
      guest.view.configWrite(sbdf, 4, 2, 6)
    }
  }
  fails = 'mapInterrupt'
  expect(mapPirq(attacker, b.sbdf).rc).toBe(-Errno.EIO)
  expect(state()).toBe(DEVICE_STATE.FENCED)
  fails = null
  restart()
  expect(bind(victim, mapPirq(victim, a.sbdf).out.pirq).rc).toBe(0)
  const { address, data, vector } = r.hypervisor.oracle.interruptOf(a.sbdf)!
  // The entry that it was not given works, for all that anybody knows: each requester's first one is 0.
  send(b.device, address, data, r.machine.memory.view)
  expect(r.machine.interrupts.received[vector]).toBe(0)
  const { pirq } = mapPirq(attacker, b.sbdf).out
  const lost = r.hypervisor.oracle.interruptOf(b.sbdf)!.vector
  fails = 'unmapInterrupt'
  expect(unmapPirq(attacker, pirq)).toBe(-Errno.EIO)
  expect(state()).toBe(DEVICE_STATE.FENCED)
  fails = null
  restart()
  expect(mapPirq(attacker, b.sbdf).rc).toBe(0)
  expect(r.hypervisor.oracle.interruptOf(b.sbdf)!.vector).not.toBe(lost)
  // With the device itself it is the same.
  fails = 'unmapInterrupt'
  expect(assignment(r.dom0, XEN_DOMCTL.deassign_device, attacker.domid, b.sbdf)).toBe(-Errno.EIO)
})
