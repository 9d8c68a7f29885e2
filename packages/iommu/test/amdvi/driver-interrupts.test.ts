import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus, type InterruptMessage } from '../../src/driver.ts'
import { amdviPersonalities } from '../../src/hardware.ts'
import { changed, DriverRig, type RigDevice } from '../shared/driver-rig.ts'
import { driverInterruptsSuite } from '../shared/driver-interrupts-suite.ts'
import { amdviUnit } from '../shared/units.ts'

/** Interrupts as the driver maps them (facts B.3, B.7, G): order of stores and commands in words typed from the facts, blocking, memory. */
const { hats4, hats6 } = amdviPersonalities
const small = {
  ...hats6,
  devices: { sets: 1, ways: 1 },
  interrupts: { sets: 4, ways: 1 },
}

describe.each([amdviUnit(hats4), amdviUnit(small)])(
  '$name [amdvi.driver.conformance, amdvi.driver.interrupt-map, amdvi.driver.interrupt-unmap, amdvi.driver.interrupt-blocked]',
  (unit) => driverInterruptsSuite(unit, 512),
)

const hex = (value: number): string => (value >>> 0).toString(16)

function recorded() {
  const log: string[] = []
  const wrap = (port: DriverPort) =>
    changed(port, {
      store128: (mfn, index, hi0, lo0, hi1, lo1) => {
        const half = (index & 2) === 0 ? 'lower' : 'upper'
        log.push(`entry ${index & ~3} ${half} ${hex(hi0)}:${hex(lo0)} ${hex(hi1)}:${hex(lo1)}`)
        port.store128(mfn, index, hi0, lo0, hi1, lo1)
      },
      publish64: (mfn, index, hi, lo) => {
        log.push(`store ${index} ${hex(hi)}:${hex(lo)}`)
        port.publish64(mfn, index, hi, lo)
      },
      storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
        log.push(`command ${hex(lo0)} ${hex(hi0)}`)
        port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1)
      },
      freePage: (mfn) => {
        log.push('free')
        port.freePage(mfn)
      },
    })
  const rig = new DriverRig(amdviUnit(hats6), { wrap })
  const { device, table } = rig.start()
  log.length = 0
  return { rig, device, table, taken: () => log.splice(0) }
}

const message = (): InterruptMessage => ({ addressLow: 0, addressHigh: 0, data: 0 })
const send = (rig: DriverRig, device: RigDevice, data: number): number => {
  rig.machine.memory.view.setUint32(device.messageAt, data, true)
  return device.dmaWrite(0, 0xfee00000 | 0, device.messageAt, 4)
}
const received = (rig: DriverRig, vector: number): number => rig.machine.interrupts.received[vector]!

describe('order of stores [amdvi.driver.interrupt-order]', () => {
  test('map: the entry, then the upper half of the device table entry, both invalidated and waited for', () => {
    const { rig, taken } = recorded()
    const given = message()
    expect(rig.driver.mapInterrupt(8, 0x91, given)).toBe(0)
    // RemapEn, vector 23:16. IV, IntTabLen 9 (4:1), IntCtl 2 (61:60).
    expect(taken()).toEqual([
      'store 0 0:910001',
      expect.stringMatching(/^entry 32 upper 20000000:[0-9a-f]+013 0:0$/),
      'command 8 20000000',
      'command 8 50000000',
      expect.stringMatching(/^command [0-9a-f]+5 10000000$/),
    ])
    expect(given).toEqual({ addressLow: 0xfee00000 | 0, addressHigh: 0, data: 0 })
  })

  test('the second of a pair leaves the first as it is', () => {
    const { rig, taken } = recorded()
    for (const vector of [0x91, 0x92, 0x93]) rig.driver.mapInterrupt(8, vector, message())
    expect(taken().filter((step) => step.startsWith('store'))).toEqual([
      'store 0 0:910001',
      'store 0 920001:910001',
      'store 1 0:930001',
    ])
    rig.driver.unmapInterrupt(8, 0)
    expect(taken()[0]).toBe('store 0 920001:0')
  })

  test('unmap of the last: the entry, the device table entry aborts, invalidated and waited for, then the page is free', () => {
    const { rig, taken } = recorded()
    rig.driver.mapInterrupt(8, 0x91, message())
    taken()
    expect(rig.driver.unmapInterrupt(8, 0)).toBe(0)
    expect(taken()).toEqual([
      'store 0 0:0',
      'entry 32 upper 0:1 0:0',
      'command 8 20000000',
      'command 8 50000000',
      expect.stringMatching(/^command [0-9a-f]+5 10000000$/),
      'free',
    ])
  })
})

describe('blocking [amdvi.driver.interrupt-blocked]', () => {
  test('block takes mapped interrupts away, attach gives them back', () => {
    const { rig, device, table } = recorded()
    rig.driver.mapInterrupt(8, 0x91, message())
    expect([send(rig, device, 0), rig.driver.block(8), send(rig, device, 0)]).toEqual([1, 0, -1])
    expect(rig.faults()).toMatchObject([{ requester: 8, hardwareReason: 8, write: true }])
    expect([rig.driver.attach(8, table), send(rig, device, 0), received(rig, 0x91)]).toEqual([0, 1, 2])
  })

  test('a device that is blocked has the interrupts that are mapped then, and loses them by the next block', () => {
    const rig = new DriverRig(amdviUnit(hats6))
    rig.driver.enable()
    const device = rig.device()
    expect(rig.driver.mapInterrupt(8, 0x91, message())).toBe(0)
    expect([device.put(0x5000, 1n), send(rig, device, 0)]).toEqual([-1, 1])
    expect([rig.driver.block(8), send(rig, device, 0), rig.driver.unmapInterrupt(8, 0)]).toEqual([0, -1, 0])
  })

  test('interrupts of a requester beyond the device table cannot be mapped', () => {
    const rig = new DriverRig(amdviUnit(hats6))
    expect(rig.driver.mapInterrupt(8, 0x91, message())).toBe(DriverStatus.unsupported)
    rig.driver.enable()
    expect(rig.driver.mapInterrupt(0x400, 0x91, message())).toBe(DriverStatus.unsupported)
  })

  test('delivery modes that are not remapped are aborted, but SMI, which names no vector [amdvi.dte.interrupt-pass]', () => {
    const { rig, device } = recorded()
    rig.driver.mapInterrupt(8, 0x91, message())
    for (let mode = 2; mode < 8; mode++) expect(send(rig, device, mode << 8)).toBe(mode === 2 ? 1 : -1)
    expect([received(rig, 0), received(rig, 0x91)]).toEqual([0, 0])
  })
})

test('no page for a table: noMemory, nothing changed [amdvi.driver.interrupt-map]', () => {
  const rig = new DriverRig(amdviUnit(hats6), { pages: 4 })
  const { device } = rig.start()
  expect(rig.driver.mapInterrupt(8, 0x91, message())).toBe(DriverStatus.noMemory)
  expect(send(rig, device, 0)).toBe(-1)
  rig.pages++
  expect([rig.driver.mapInterrupt(8, 0x91, message()), send(rig, device, 0)]).toEqual([0, 1])
})
