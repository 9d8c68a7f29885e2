/** Frames change their owner safely with the driver as it is; and what it does when the unit does not answer. */
import { describe, expect, test } from 'vitest'
import { type DriverPort, DriverStatus } from '../../src/driver.ts'
import { changed, DATA, DriverRig, type UnitUnderTest } from './driver-rig.ts'
import { at } from './driver-suite.ts'

/** Maps a page, lets the device write it, unmaps it, gives the frame to somebody else: what that one's data are in the end. */
export function secondOwner(
  unit: UnitUnderTest,
  wrap?: (port: DriverPort) => DriverPort,
): { readonly mapped: number; readonly late: number; readonly data: bigint } {
  const rig = new DriverRig(unit, wrap === undefined ? {} : { wrap })
  const { device, table } = rig.start()
  rig.map(table, 0x5000, DATA, 1)
  const mapped = device.put(0x5000, 0xbadn)
  rig.unmap(table, 0x5000, 1)
  rig.store(at(DATA), 0x600dn)
  const late = device.put(0x5008, 0xbadn)
  rig.elapse(5000)
  return { mapped, late, data: rig.load(at(DATA)) }
}

export function driverFaultySuite(unit: UnitUnderTest): void {
  const unheard = (port: DriverPort, broken: () => boolean): DriverPort =>
    changed(port, {
      write32: (address, value) => {
        if (!broken() || address !== unit.doorbell) port.write32(address, value)
      },
    })

  /** A port whose unit does not answer while `broken` is true. */
  class Broken {
    broken = false
    readonly rig: DriverRig
    constructor() {
      const silence = unit.silence ?? unheard
      const wrap = (port: DriverPort) => silence(port, () => this.broken)
      this.rig = new DriverRig(unit, { wrap, timeout: 100_000 })
    }
  }

  test('the second owner of a frame keeps its data', () => {
    expect(secondOwner(unit)).toEqual({ mapped: 2, late: -1, data: 0x600dn })
  })

  describe('a unit that does not answer', () => {
    test('an invalidation times out: nothing is freed, and the next answer makes up for it', () => {
      const broken = new Broken()
      const { rig } = broken
      const { device, table } = rig.start()
      rig.map(table, 0, DATA, 512, 3, true)
      device.put(0, 1n)
      const held = rig.held.size
      broken.broken = true
      const before = rig.machine.clock.now
      expect(rig.unmap(table, 0, 512)).toBe(DriverStatus.timedOut)
      expect(rig.machine.clock.now - before).toBeGreaterThan(100_000)
      expect([rig.held.size, device.put(0, 2n)]).toEqual([held, unit.afterTimeout ?? 2])
      broken.broken = false
      expect(rig.driver.completeInvalidations()).toBe(0)
      expect([rig.held.size, device.put(0, 3n)]).toEqual([unit.flat ? held : held - 1, -1])
    })

    test.skipIf(unit.open)(
      'attach, block, destroyTable and reclaim report it; a table that may still be used is kept',
      () => {
        const broken = new Broken()
        const { rig } = broken
        const { table } = rig.start()
        const other = rig.driver.createTable(rig.bits)
        rig.map(table, 0, DATA, 1)
        rig.unmap(table, 0, 1)
        broken.broken = true
        expect(rig.driver.reclaim(table)).toBe(unit.flat ? 0 : DriverStatus.timedOut)
        expect(rig.driver.attach(8, other)).toBe(DriverStatus.timedOut)
        expect(rig.driver.block(8)).toBe(DriverStatus.timedOut)
        const pages = rig.driver.tablePages(table)
        expect(rig.driver.destroyTable(table)).toBe(DriverStatus.timedOut)
        expect(rig.driver.tablePages(table)).toBe(pages)
        broken.broken = false
        expect([rig.driver.destroyTable(table), rig.driver.tablePages(table)]).toEqual([0, 0])
        expect(rig.driver.createTable(rig.bits)).toBe(table)
      },
    )

    test.skipIf(unit.flat)('the ring never overtakes itself: full of unanswered commands, it says timedOut', () => {
      const broken = new Broken()
      const { rig } = broken
      rig.start()
      broken.broken = true
      const outcomes = new Set<number>()
      for (let i = 0; i < 300; i++) outcomes.add(rig.driver.queueInvalidation(1, 0, i * 0x4000, 1))
      expect(outcomes).toEqual(new Set([0, DriverStatus.timedOut]))
      expect(rig.driver.completeInvalidations()).toBe(DriverStatus.timedOut)
    })

    /** A unit whose ring is full of what it did not answer, with a device that knows `pages` pages of a table. */
    function full(pages: number) {
      const broken = new Broken()
      const { rig } = broken
      const { device, table } = rig.start()
      rig.map(table, 0, DATA, pages, 3, true)
      for (let i = 0; i < pages; i++) device.put(i * 4096, 1n)
      broken.broken = true
      for (let i = 0; i < 300; i++) rig.driver.queueInvalidation(table, 0, i * 0x4000, 1)
      return { broken, rig, device, table }
    }

    test.skipIf(unit.flat)('what found no room in the ring is made up for before anything is ok again', () => {
      const { broken, rig, device, table } = full(3)
      for (const page of [0, 1, 2]) expect(rig.unmap(table, page * 4096, 1)).toBe(DriverStatus.timedOut)
      broken.broken = false
      expect(rig.driver.completeInvalidations()).toBe(0)
      expect([0, 1, 2].map((page) => device.put(page * 4096, 2n))).toEqual([-1, -1, -1])
      // And it goes on as ever.
      rig.map(table, 0, DATA, 1)
      expect([device.put(0, 3n), rig.unmap(table, 0, 1), device.put(0, 4n)]).toEqual([2, 0, -1])
    })

    test.skipIf(unit.flat)('what map and unmap say is what is in the table, however full the ring is', () => {
      const { broken, rig, device, table } = full(512)
      // A leaf table leaves the tree with its last entry, or when a large page takes its place.
      expect([rig.clear(table, 0, 512), rig.driver.frameOf(table, 0, 0)]).toEqual([0, -1])
      expect([rig.map(table, 0x20_0000, DATA, 1, 3, true), rig.clear(table, 0x20_0000, 1)]).toEqual([0, 0])
      const status = rig.map(table, 0x20_0000, DATA, 512)
      expect([status, rig.driver.frameOf(table, 0, 0x20_0000)]).toEqual([0, DATA])
      const held = rig.held.size
      broken.broken = false
      expect(rig.driver.completeInvalidations()).toBe(0)
      expect(rig.held.size).toBeLessThan(held)
      expect([device.put(0, 2n), device.put(0x20_0000, 3n)]).toEqual([-1, 2])
    })

    test.skipIf(unit.open)('a block that is not confirmed is not over when somebody attaches', () => {
      const broken = new Broken()
      const { rig } = broken
      const { device, table } = rig.start()
      const other = rig.driver.createTable(rig.bits)
      rig.map(table, 0, DATA, 1)
      device.put(0, 1n)
      broken.broken = true
      expect(rig.driver.block(8)).toBe(DriverStatus.timedOut)
      expect(rig.driver.block(8)).toBe(DriverStatus.timedOut)
      expect(rig.driver.attach(8, other)).toBe(DriverStatus.timedOut)
      broken.broken = false
      expect([rig.driver.attach(8, other), device.put(0, 2n)]).toEqual([0, -1])
    })

    test('enable: timedOut, and all pages back', () => {
      const broken = new Broken()
      broken.broken = true
      expect(broken.rig.driver.enable()).toBe(DriverStatus.timedOut)
      expect(broken.rig.held.size).toBe(0)
      broken.broken = false
      expect(broken.rig.driver.enable()).toBe(0)
    })
  })
}
