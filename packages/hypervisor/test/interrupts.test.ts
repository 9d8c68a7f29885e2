/** Interrupts through the unit's remapping: an entry for each pirq, everything else blocked (docs/decisions/0021). */
import { describe, expect, test } from 'vitest'
import {
  DOMID,
  EVTCHNOP,
  IOMMU_FEATURE,
  IOMMU_OP,
  MAP_PIRQ_TYPE,
  PHYSDEVOP,
  XEN_DOMCTL,
  evtchn_bind_pirq,
  evtchn_close,
  iommu_query,
  physdev_map_pirq,
  physdev_unmap_pirq,
} from '@iospace/abi'
import { DmaOutcome } from '@iospace/machine'
import { addGuest, assignment, deviceOf, give, iommuOp } from './builder.ts'
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
