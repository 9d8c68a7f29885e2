import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus } from '../../src/driver.ts'
import { VTD_BASE, vtdPersonalities } from '../../src/hardware.ts'
import { custom } from './personality.ts'
import { changed, DATA, Rig } from './rig.ts'

/**
 * What the models of lateness are for: the same short life of a mapping is safe with the driver as it is, and not safe with a port
 * that makes it skip one step of the documented order. And what the driver does when the unit does not answer.
 */
const at = (mfn: number): number => mfn * 4096

/** Maps a page, lets the device write it, unmaps it, gives the frame to somebody else: what that one's data are in the end. */
function secondOwner(wrap?: (port: DriverPort) => DriverPort): {
  readonly mapped: number
  readonly late: number
  readonly data: bigint
} {
  const rig = new Rig(wrap === undefined ? {} : { wrap })
  const { device, table } = rig.start()
  rig.map(table, 0x5000, DATA, 1)
  const mapped = device.put(0x5000, 0xbadn)
  rig.unmap(table, 0x5000, 1)
  rig.store(at(DATA), 0x600dn)
  const late = device.put(0x5008, 0xbadn)
  rig.elapse(5000)
  return { mapped, late, data: rig.load(at(DATA)) }
}

test('the driver as it is: the second owner’s data stay [vtd.driver.unmap.order]', () =>
  expect(secondOwner()).toEqual({ mapped: 2, late: -1, data: 0x600dn }))

test('without waiting for the wait descriptor: the device still reaches the frame [vtd.driver.unmap.wait]', () => {
  // Whoever looks at the status word finds the answer that the last wait descriptor asks for.
  let status = -1
  let answer = 0
  const impatient = (port: DriverPort) =>
    changed(port, {
      storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
        if ((lo0 & 0xf) === 5) [status, answer] = [lo1 >>> 12, hi0]
        port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1)
      },
      loadLow: (mfn, index) => (mfn === status && index === 0 ? answer : port.loadLow(mfn, index)),
    })
  expect(secondOwner(impatient)).toEqual({ mapped: 2, late: 2, data: 0x600dn })
})

test('without the drain: a write that was on its way lands in the second owner’s data [vtd.driver.unmap.drain]', () => {
  const undrained = (port: DriverPort) =>
    changed(port, {
      storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) =>
        port.storeCoherent128(mfn, index, hi0, (lo0 & 0xf) === 2 ? lo0 & ~0xc0 : lo0, hi1, lo1),
    })
  expect(secondOwner(undrained)).toEqual({ mapped: 2, late: -1, data: 0xbadn })
})

test('without the invalidation of the page: the device still reaches the frame [vtd.cache.stale]', () => {
  const another = (port: DriverPort) =>
    changed(port, {
      storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) =>
        port.storeCoherent128(mfn, index, hi0, lo0, hi1, (lo0 & 0x3f) === 0x32 ? lo1 + 0x100000 : lo1),
    })
  expect(secondOwner(another)).toMatchObject({ mapped: 2, late: 2 })
})

test('without cache write-back on a unit that is not coherent: the unit does not see the mapping [vtd.walk.non-coherent, vtd.driver.map.flush]', () => {
  const unflushed = (port: DriverPort) =>
    changed(port, { flushLine: () => {}, publish64: (mfn, index, hi, lo) => port.store64(mfn, index, hi, lo) })
  expect(secondOwner(unflushed)).toMatchObject({ mapped: -1 })
})

describe('a unit that does not answer [vtd.driver.time-out]', () => {
  /** A port whose register writes at `offset` vanish while `broken` is true. */
  class Broken {
    broken = false
    readonly rig: Rig
    constructor(offset: number) {
      const wrap = (port: DriverPort) =>
        changed(port, {
          write32: (address, value) => {
            if (!this.broken || address !== VTD_BASE + offset) port.write32(address, value)
          },
        })
      this.rig = new Rig({ wrap, timeout: 100_000 })
    }
  }

  test('an invalidation times out: nothing is freed, and the next answer makes up for it', () => {
    const unit = new Broken(0x88)
    const { rig } = unit
    const { device, table } = rig.start()
    rig.map(table, 0, DATA, 512, 3, true)
    device.put(0, 1n)
    const held = rig.held.size
    unit.broken = true
    const before = rig.machine.clock.now
    expect(rig.unmap(table, 0, 512)).toBe(DriverStatus.timedOut)
    expect(rig.machine.clock.now - before).toBeGreaterThan(100_000)
    expect([rig.held.size, device.put(0, 2n)]).toEqual([held, 2])
    unit.broken = false
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect([rig.held.size, device.put(0, 3n)]).toEqual([held - 1, -1])
  })

  test('attach, block, destroyTable and reclaim report it; a table that may still be used is kept', () => {
    const unit = new Broken(0x88)
    const { rig } = unit
    const { table } = rig.start()
    const other = rig.driver.createTable(48)
    rig.map(table, 0, DATA, 1)
    rig.unmap(table, 0, 1)
    unit.broken = true
    expect(rig.driver.reclaim(table)).toBe(DriverStatus.timedOut)
    expect(rig.driver.attach(8, other)).toBe(DriverStatus.timedOut)
    expect(rig.driver.block(8)).toBe(DriverStatus.timedOut)
    const pages = rig.driver.tablePages(table)
    expect(rig.driver.destroyTable(table)).toBe(DriverStatus.timedOut)
    expect(rig.driver.tablePages(table)).toBe(pages)
    unit.broken = false
    expect([rig.driver.destroyTable(table), rig.driver.tablePages(table)]).toEqual([0, 0])
    // The id comes back, and with it nothing of the past.
    expect(rig.driver.createTable(48)).toBe(table)
  })

  test('the ring never overtakes itself: with 256 slots full of unanswered commands it says timedOut', () => {
    const unit = new Broken(0x88)
    const { rig } = unit
    const { table } = rig.start()
    unit.broken = true
    const outcomes = new Set<number>()
    for (let i = 0; i < 300; i++) outcomes.add(rig.driver.queueInvalidation(table, 0, i * 0x4000, 1))
    expect(outcomes).toEqual(new Set([0, DriverStatus.timedOut]))
    expect(rig.driver.completeInvalidations()).toBe(DriverStatus.timedOut)
  })

  test('enable: each command that never completes gives timedOut and all pages back', () => {
    for (const refused of [0x04000000, 0x40000000, 0x80000000]) {
      const rig = new Rig({
        timeout: 100_000,
        wrap: (port) =>
          changed(port, {
            write32: (address, value) => {
              if (address !== VTD_BASE + 0x18 || (value & refused) === 0) port.write32(address, value)
            },
          }),
      })
      expect(rig.driver.enable()).toBe(DriverStatus.timedOut)
      expect(rig.held.size).toBe(0)
    }
    const unit = new Broken(0x88)
    unit.broken = true
    expect(unit.rig.driver.enable()).toBe(DriverStatus.timedOut)
    expect(unit.rig.held.size).toBe(0)
  })

  test('firmware’s translation cannot be turned off: timedOut', () => {
    const unit = new Broken(0x18)
    unit.rig.turnOn()
    unit.broken = true
    expect(unit.rig.driver.enable()).toBe(DriverStatus.timedOut)
  })
})

describe('a damaged descriptor [vtd.driver.recovery.error]', () => {
  /** A port that turns the next page-selective descriptor into one that no unit knows. */
  function damaging(): { rig: Rig; damage: () => void } {
    let armed = 0
    const rig = new Rig({
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
            const hit = armed > 0 && (lo0 & 0xf) === 2
            if (hit) armed--
            port.storeCoherent128(mfn, index, hi0, hit ? 0xf : lo0, hi1, lo1)
          },
        }),
    })
    return { rig, damage: () => armed++ }
  }

  test('the queue stops, the driver makes the slot harmless and forgets everything: the mapping is gone for sure', () => {
    const { rig, damage } = damaging()
    const { device, table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    damage()
    expect(rig.unmap(table, 0x5000, 1)).toBe(0)
    expect(device.put(0x5000, 2n)).toBe(-1)
    expect(rig.read(0x34) & 0x10).toBe(0)
    rig.map(table, 0x5000, DATA, 1)
    expect([device.put(0x5000, 3n), rig.unmap(table, 0x5000, 1), device.put(0x5000, 4n)]).toEqual([2, 0, -1])
  })

  test('in a full ring, too: it runs empty over the harmless slot, and everything is forgotten', () => {
    let silent = false
    let armed = 0
    const rig = new Rig({
      timeout: 100_000,
      wrap: (port) =>
        changed(port, {
          write32: (address, value) => {
            if (!silent || address !== VTD_BASE + 0x88) port.write32(address, value)
          },
          storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
            const hit = armed > 0 && (lo0 & 0xf) === 2
            if (hit) armed--
            port.storeCoherent128(mfn, index, hi0, hit ? 0xf : lo0, hi1, lo1)
          },
        }),
    })
    const { device, table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    device.put(0x5000, 1n)
    silent = true
    armed = 3
    for (let i = 0; i < 300; i++) rig.driver.queueInvalidation(table, 0, 0x100_0000 + i * 0x4000, 1)
    expect(rig.unmap(table, 0x5000, 1)).toBe(DriverStatus.timedOut)
    silent = false
    expect([rig.driver.completeInvalidations(), device.put(0x5000, 2n)]).toEqual([0, -1])
  })

  test('every one damaged: timedOut in the end', () => {
    const { rig, damage } = damaging()
    const { table } = rig.start()
    rig.map(table, 0x5000, DATA, 1)
    for (let i = 0; i < 10000; i++) damage()
    expect(rig.unmap(table, 0x5000, 1)).toBe(DriverStatus.timedOut)
  })
})

test('hundreds of separate ranges fit into one completion', () => {
  const rig = new Rig()
  const { device, table } = rig.start()
  for (let i = 0; i < 700; i++) {
    rig.map(table, i * 0x4000, DATA + i, 1)
    device.put(i * 0x4000, 1n)
  }
  for (let i = 0; i < 700; i++) {
    rig.driver.unmap(table, 0, i * 0x4000, 1)
    expect(rig.driver.queueInvalidation(table, 0, i * 0x4000, 1)).toBe(0)
  }
  expect(rig.driver.completeInvalidations()).toBe(0)
  for (let i = 0; i < 700; i++) expect(device.put(i * 0x4000, 2n)).toBe(-1)
})

test('neighbouring ranges become one descriptor, a misaligned one two blocks of at most twice its size', () => {
  const seen: [number, number][] = []
  const rig = new Rig({
    wrap: (port) =>
      changed(port, {
        storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
          if ((lo0 & 0x3f) === 0x32) seen.push([(lo1 & ~0xfff) >>> 0, lo1 & 0x3f])
          port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1)
        },
      }),
  })
  const { table } = rig.start()
  const queue = (address: number, pages: number) => rig.driver.queueInvalidation(table, 0, address, pages)
  const descriptors = () => {
    expect(rig.driver.completeInvalidations()).toBe(0)
    return seen.splice(0)
  }
  queue(0x4000, 1)
  queue(0x5000, 2)
  queue(0x7000, 1)
  expect(descriptors()).toEqual([[0x4000, 2]])
  queue(0x4000, 1)
  queue(0x6000, 1)
  expect(descriptors()).toEqual([
    [0x4000, 0],
    [0x6000, 0],
  ])
  // Pages 5…15 and 511…512.
  queue(0x5000, 11)
  expect(descriptors()).toEqual([[0x0, 4]])
  queue(0x1ff000, 2)
  expect(descriptors()).toEqual([
    [0x1ff000, 0],
    [0x200000, 0],
  ])
  // Pages 500…530: 16 pages below the border at 512, 32 above.
  queue(0x1f4000, 31)
  expect(descriptors()).toEqual([
    [0x1f0000, 4],
    [0x200000, 5],
  ])
})

describe('a unit with fewer ways to invalidate', () => {
  const silicon = vtdPersonalities['sandybridge-ep']
  test.each([
    ['without PSI: whole domains', custom(silicon, { capHigh: silicon.capHigh & ~0x80 }), 1],
    ['with MAMV 9: a page, then whole domains above 512 pages', custom(silicon, { capHigh: 0x00c9078c }), 2],
  ])('%s [vtd.invalidate.page.order]', (_name, personality, kinds) => {
    const seen = new Set<number>()
    const rig = new Rig({
      personality,
      wrap: (port) =>
        changed(port, {
          storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
            if ((lo0 & 0xf) === 2) seen.add(lo0 & 0x30)
            port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1)
          },
        }),
    })
    const { device, table } = rig.start()
    seen.clear()
    for (const pages of [1, 700]) {
      rig.map(table, 0x5000, DATA, pages)
      device.put(0x5000, 1n)
      expect(rig.unmap(table, 0x5000, pages)).toBe(0)
      expect(device.put(0x5000, 1n)).toBe(-1)
    }
    expect([seen.size, seen.has(0x20)]).toEqual([kinds, true])
  })
})
