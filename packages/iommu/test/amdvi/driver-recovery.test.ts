import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus } from '../../src/driver.ts'
import { AMDVI_BASE, type AmdviPersonality, amdviPersonalities } from '../../src/hardware.ts'
import { changed, DATA, DriverRig } from '../shared/driver-rig.ts'
import { amdviUnit } from '../shared/units.ts'

/** What the driver does about a command buffer that is stuck or stopped, and about a unit that firmware left on (facts B.5, B.7). */
const { hats4, hats6 } = amdviPersonalities
const CONTROL = AMDVI_BASE + 0x18
const TAIL = AMDVI_BASE + 0x2008
const STATUS = AMDVI_BASE + 0x2020

interface Faults {
  /** Writes of the tail vanish. */
  deaf: boolean
  /** Every invalidation becomes a command that no unit knows. */
  damaged: boolean
  /** How often Status still says that the buffer runs after it was switched off. */
  lingers: number
}

function rigged(personality: AmdviPersonality = hats6) {
  const faults: Faults = { deaf: false, damaged: false, lingers: 0 }
  const restarts: number[] = []
  let off = false
  const wrap = (port: DriverPort) =>
    changed(port, {
      write32: (address, value) => {
        if (faults.deaf && address === TAIL) return
        if (address === CONTROL) {
          off = (value & 0x1000) === 0
          if (!off && (value & 1) !== 0) restarts.push(value)
        }
        port.write32(address, value)
      },
      read32: (address) => {
        if (address === STATUS && off && faults.lingers > 0) {
          faults.lingers--
          return port.read32(address) | 0x10
        }
        return port.read32(address)
      },
      storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
        const hit = faults.damaged && hi0 >>> 28 !== 1 && hi0 !== 0
        port.storeCoherent128(mfn, index, hit ? 0xf0000000 | 0 : hi0, lo0, hi1, lo1)
      },
    })
  const rig = new DriverRig(amdviUnit(personality), { wrap, timeout: 100_000 })
  return { rig, faults, restarts, ...rig.start() }
}

describe('stuck: no answer in time [amdvi.driver.stuck]', () => {
  test.each([
    ['hats6', hats6],
    [
      'without IASup',
      { ...hats4, featuresLow: hats4.featuresLow & ~0x40, features: { ...hats4.features, invalidateAll: false } },
    ],
  ])('%s: what could not even be queued is made up for by the next answer', (_name, personality) => {
    const { rig, device, table, faults } = rigged(personality)
    for (let page = 0; page < 400; page++) {
      rig.map(table, page * 0x4000, DATA + page, 1)
      expect(device.put(page * 0x4000, 1n)).toBe(2)
    }
    faults.deaf = true
    const outcomes = new Set<number>()
    for (let page = 0; page < 400; page++) {
      rig.clear(table, page * 0x4000, 1)
      outcomes.add(rig.queue(table, page * 0x4000, 1))
    }
    expect(outcomes).toEqual(new Set([0, DriverStatus.timedOut]))
    expect(rig.driver.completeInvalidations()).toBe(DriverStatus.timedOut)
    faults.deaf = false
    expect(rig.driver.completeInvalidations()).toBe(0)
    for (let page = 0; page < 400; page++) expect(device.put(page * 0x4000, 2n)).toBe(-1)
  })

  test('a block is confirmed by an answer only, however often it is asked for', () => {
    const { rig, device, table, faults } = rigged()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    faults.deaf = true
    const { timedOut } = DriverStatus
    expect([rig.driver.block(8), rig.driver.block(8)]).toEqual([timedOut, timedOut])
    faults.deaf = false
    expect([rig.driver.block(8), device.put(0x5000, 3n), rig.driver.block(8)]).toEqual([0, -1, 0])
  })

  test('a full ring: attach, block, interrupts and destroyTable are timedOut too, and done when it answers', () => {
    const { rig, device, table, faults } = rigged()
    const other = rig.driver.createTable(rig.bits)
    rig.map(table, 0x5000, DATA, 1)
    rig.map(other, 0x6000, DATA, 1)
    const message = { addressLow: 0, addressHigh: 0, data: 0 }
    const handle = rig.driver.mapInterrupt(8, 0x71, message)
    device.put(0x5000, 1n)
    faults.deaf = true
    for (let page = 0; page < 400; page++) rig.queue(table, page * 0x4000, 1)
    const { timedOut } = DriverStatus
    expect([
      rig.driver.attach(8, other),
      rig.driver.mapInterrupt(8, 0x72, message),
      rig.driver.unmapInterrupt(8, handle),
      rig.driver.block(8),
      rig.driver.destroyTable(table),
      rig.driver.reclaim(other) + rig.driver.completeInvalidations(),
    ]).toEqual([timedOut, timedOut, timedOut, timedOut, timedOut, timedOut])
    faults.deaf = false
    expect([rig.driver.attach(8, other), device.put(0x5000, 2n), device.put(0x6000, 3n)]).toEqual([0, -1, 2])
    expect([rig.driver.unmapInterrupt(8, handle), rig.driver.destroyTable(table)]).toEqual([0, 0])
  })

  test('a driver that was not enabled has blocked nothing and needs not', () => {
    const rig = new DriverRig(amdviUnit(hats6))
    expect(rig.driver.block(8)).toBe(0)
  })

  test('the buffer is started anew once the unit has stopped it', () => {
    const { rig, device, table, faults, restarts } = rigged()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    faults.deaf = true
    expect(rig.unmap(table, 0x5000, 1)).toBe(DriverStatus.timedOut)
    Object.assign(faults, { deaf: false, lingers: 20 })
    restarts.length = 0
    expect([rig.driver.completeInvalidations(), faults.lingers, restarts.length]).toEqual([0, 0, 1])
    expect(device.put(0x5000, 2n)).toBe(-1)
  })

  test('one that never stops is not started anew', () => {
    const { rig, table, faults, restarts } = rigged()
    rig.map(table, 0x5000, DATA, 1)
    faults.deaf = true
    expect(rig.unmap(table, 0x5000, 1)).toBe(DriverStatus.timedOut)
    Object.assign(faults, { deaf: false, lingers: Infinity })
    restarts.length = 0
    expect([rig.driver.completeInvalidations(), restarts]).toEqual([DriverStatus.timedOut, []])
    faults.lingers = 0
    expect(rig.driver.completeInvalidations()).toBe(0)
  })
})

describe('stopped: an illegal command [amdvi.driver.restart]', () => {
  test('that stays illegal: a few tries, then timedOut; once it is well again, all that was asked is done', () => {
    const { rig, device, table, faults, restarts } = rigged()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    faults.damaged = true
    restarts.length = 0
    expect([rig.unmap(table, 0x5000, 1), restarts.length]).toEqual([DriverStatus.timedOut, 3])
    expect([rig.driver.completeInvalidations(), restarts.length]).toEqual([DriverStatus.timedOut, 6])
    faults.damaged = false
    expect([rig.driver.completeInvalidations(), device.put(0x5000, 2n)]).toEqual([0, -1])
    // Control is as it was: coherent, buffer, log, unit.
    expect(restarts.every((value) => value === 0x1405)).toBe(true)
  })
})

describe('taking over [amdvi.driver.take-over]', () => {
  const left = (lingers: number) => {
    let reads = 0
    const wrap = (port: DriverPort) =>
      changed(port, {
        read32: (address) => port.read32(address) | (address === STATUS && reads++ < lingers ? 8 : 0),
      })
    const rig = new DriverRig(amdviUnit(hats6), { wrap, timeout: 100_000 })
    return { rig, reads: () => reads }
  }

  test('a log that takes a while to stop is waited for', () => {
    const { rig, reads } = left(10)
    expect([rig.driver.enable(), reads() >= 10]).toEqual([0, true])
  })

  test('a unit that does not stop is not taken: timedOut, no page is held', () => {
    const { rig } = left(Infinity)
    expect([rig.driver.enable(), rig.held.size]).toEqual([DriverStatus.timedOut, 0])
  })

  test('what firmware’s unit had to tell is not told again', () => {
    const rig = new DriverRig(amdviUnit(hats6))
    const { mmio, interrupts } = rig.machine
    mmio.write64(AMDVI_BASE, 0x200000n)
    mmio.write64(AMDVI_BASE + 0x10, 0x0800000000300000n)
    mmio.write64(CONTROL, 0x5n)
    rig.store(0x200000 + 8 * 32, 3n)
    const device = rig.device()
    expect([device.put(0x5000, 1n), mmio.read32(STATUS)]).toEqual([-1, 0xa])
    expect(rig.driver.enable()).toBe(0)
    rig.driver.setFaultInterrupt(0xfee00000, 0x61)
    expect([rig.faults(), interrupts.received[0x61], mmio.read32(STATUS)]).toEqual([[], 0, 0x18])
    device.put(0x5000, 1n)
    expect([rig.faults().length, interrupts.received[0x61]]).toEqual([1, 1])
  })
})
