import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus, type IommuFault } from '../../src/driver.ts'
import { AMDVI_BASE, amdviPersonalities } from '../../src/hardware.ts'
import { changed, DATA, DriverRig } from '../shared/driver-rig.ts'
import { amdviUnit } from '../shared/units.ts'

/** A damaged command buffer, and an event log as errata and storms leave it (facts B.5, B.6). */
const unit = amdviUnit(amdviPersonalities.hats6)

describe('a damaged command', () => {
  /** A port that turns the next INVALIDATE_IOMMU_PAGES into a command that no unit knows. */
  function damaging(): { rig: DriverRig; damage: (times?: number) => void } {
    let armed = 0
    const rig = new DriverRig(unit, {
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
            const hit = armed > 0 && (hi0 >>> 28 === 3 || hi0 >>> 28 === 8)
            if (hit) armed--
            port.storeCoherent128(mfn, index, hit ? 0xf0000000 | 0 : hi0, lo0, hi1, lo1)
          },
        }),
    })
    return { rig, damage: (times = 1) => (armed += times) }
  }

  test('the unit stops; the driver starts the buffer anew and forgets everything: the mapping is gone for sure [amdvi.driver.restart]', () => {
    const { rig, damage } = damaging()
    const { device, table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    damage()
    expect(rig.unmap(table, 0x5000, 1)).toBe(0)
    expect(device.put(0x5000, 2n)).toBe(-1)
    rig.map(table, 0x5000, DATA, 1)
    expect([device.put(0x5000, 3n), rig.unmap(table, 0x5000, 1), device.put(0x5000, 4n)]).toEqual([2, 0, -1])
    // The error of the command itself is no fault of a device.
    expect(rig.faults().map(({ hardwareReason }) => hardwareReason)).toEqual([2, 2])
  })

  test('every one damaged: timedOut in the end, and the frame is not free [amdvi.driver.restart]', () => {
    const { rig, damage } = damaging()
    const { table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    damage(10_000)
    expect(rig.unmap(table, 0x5000, 1)).toBe(DriverStatus.timedOut)
  })

  test('a unit that does not start again: timedOut [amdvi.driver.stuck]', () => {
    let dead = false
    const rig = new DriverRig(unit, {
      timeout: 100_000,
      wrap: (port: DriverPort) =>
        changed(port, {
          write32: (address, value) => {
            if (!(dead && address === AMDVI_BASE + 0x18)) port.write32(address, value)
          },
          storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) =>
            port.storeCoherent128(mfn, index, dead ? 0 : hi0, lo0, hi1, lo1),
        }),
    })
    const { table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    dead = true
    expect(rig.unmap(table, 0x5000, 1)).toBe(DriverStatus.timedOut)
  })
})

describe('the event log [amdvi.driver.events]', () => {
  const drained = (rig: DriverRig) => {
    const seen: IommuFault[] = []
    rig.driver.drainFaults((fault) => seen.push({ ...fault }))
    return seen
  }

  test('each fault has the event’s code as its reason, the full address, and whether it is one of the request', () => {
    const rig = new DriverRig(unit)
    const { device, table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    device.get(0x1_2345_6788)
    device.put(0x8, 1n)
    // The level-4 table of the requester leads nowhere.
    const root = rig.driver
      .ownFrames()
      .find(
        (mfn) =>
          rig.load(mfn * 4096) !== 0n &&
          rig.driver.ownFrames().length > 0 &&
          (rig.load(mfn * 4096) & 0xe00n) === 0xa00n,
      )!
    rig.store(root * 4096, 0x600f_f000_0000_0a01n)
    rig.driver.queueTableInvalidation(table)
    rig.driver.completeInvalidations()
    device.get(0x5000)
    expect(drained(rig)).toEqual([
      { requester: 8, hi: 1, lo: 0x23456788, write: false, addressValid: true, hardwareReason: 2, lostBefore: false },
      { requester: 8, hi: 0, lo: 8, write: true, addressValid: true, hardwareReason: 2, lostBefore: false },
      { requester: 8, hi: 0xff000, lo: 0, write: false, addressValid: false, hardwareReason: 4, lostBefore: false },
    ])
  })

  test('an entry that appears after the tail moved is waited for (erratum 732); slots are zeroed after use', () => {
    let late = -1
    let looks = 0
    const rig = new DriverRig(unit, {
      wrap: (port) =>
        changed(port, { loadHigh: (mfn, index) => (mfn === late && looks++ < 5 ? 0 : port.loadHigh(mfn, index)) }),
    })
    const { device } = rig.start()
    const log = Number(rig.machine.mmio.read64(AMDVI_BASE + 0x10) & 0xfffff000n)
    late = log / 4096
    device.get(0x5000)
    expect(rig.load(log)).not.toBe(0n)
    expect(drained(rig)).toMatchObject([{ lo: 0x5000, hardwareReason: 2 }])
    expect([rig.load(log), rig.load(log + 8), looks]).toEqual([0n, 0n, expect.any(Number)])
    expect(looks).toBeGreaterThan(5)
  })

  test('an entry that never appears is skipped', () => {
    let lost = -1
    const rig = new DriverRig(unit, {
      wrap: (port) => changed(port, { loadHigh: (mfn, index) => (mfn === lost ? 0 : port.loadHigh(mfn, index)) }),
    })
    const { device } = rig.start()
    lost = Number(rig.machine.mmio.read64(AMDVI_BASE + 0x10) & 0xfffff000n) / 4096
    device.get(0x5000)
    expect(drained(rig)).toEqual([])
    lost = -1
    device.get(0x6000)
    expect(drained(rig)).toMatchObject([{ lo: 0x6000 }])
  })

  test('overflow: 255 entries, the last marked; the log is restarted', () => {
    const rig = new DriverRig(unit)
    const { device } = rig.start()
    for (let i = 0; i < 300; i++) device.get(i * 4096)
    const seen = drained(rig)
    expect([seen.length, seen.at(-1)!.lostBefore, seen.at(-2)!.lostBefore]).toEqual([255, true, false])
    expect(rig.machine.mmio.read32(AMDVI_BASE + 0x2020)).toBe(0x18)
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 100; i++) device.get(i * 4096)
      expect(drained(rig)).toHaveLength(100)
    }
  })

  test('events that arrive while the log is read are read too', () => {
    const rig = new DriverRig(unit)
    const { device } = rig.start()
    device.get(0x1000)
    const seen: number[] = []
    rig.driver.drainFaults(({ lo }) => {
      seen.push(lo)
      if (seen.length < 4) device.get(lo + 0x1000)
    })
    expect(seen).toEqual([0x1000, 0x2000, 0x3000, 0x4000])
  })

  test('without MsiCapMmioSup the message is programmed by the PCI function [amdvi.driver.message]', () => {
    const rig = new DriverRig(amdviUnit(amdviPersonalities.qemu))
    const { device } = rig.start()
    rig.driver.setFaultInterrupt(0xfee01000, 0x66)
    device.get(0)
    expect(rig.machine.interrupts.received[0x66]).toBe(1)
  })
})
