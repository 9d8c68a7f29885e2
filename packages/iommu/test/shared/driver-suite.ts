/** What every driver does, whatever its unit: run once per unit. The rules are those of {@link IommuDriver} and facts A.6, B.7. */
import { describe, expect, test } from 'vitest'
import { DriverStatus } from '../../src/driver.ts'
import { DATA, DriverRig, type UnitUnderTest } from './driver-rig.ts'

export const at = (mfn: number): number => mfn * 4096
export const M2 = 2 ** 21
export const G1 = 2 ** 30

export function driverSuite(unit: UnitUnderTest): void {
  const start = (options?: ConstructorParameters<typeof DriverRig>[1]) => {
    const rig = new DriverRig(unit, options)
    return { rig, ...rig.start() }
  }

  describe('mappings', () => {
    test.skipIf(unit.open)('after enable everything is blocked, and logged', () => {
      const rig = new DriverRig(unit)
      expect(rig.driver.enable()).toBe(0)
      const device = rig.device()
      expect([device.get(0x5000), device.put(at(DATA), 1n)]).toEqual([-1n, -1])
      const told = unit.vague ? { addressValid: false } : { hi: 0, lo: 0x5000, write: false, addressValid: true }
      expect(rig.faults()[0]).toMatchObject({ requester: rig.driver.groupOf(8), ...told })
    })

    test('map, use, unmap: the page is reachable exactly in between, in both directions', () => {
      const { rig, device, table } = start()
      expect(device.get(0x5000)).toBe(-1n)
      expect(rig.map(table, 0x5000, DATA, 1)).toBe(0)
      if (rig.driver.capabilities.invalidateOnMap) rig.queue(table, 0x5000, 1)
      expect(rig.driver.completeInvalidations()).toBe(0)
      expect(device.put(0x5008, 77n)).toBe(2)
      expect(rig.load(at(DATA) + 8)).toBe(77n)
      expect(device.get(0x5008)).toBe(77n)
      expect([rig.frameOf(table, 0x5000), rig.accessOf(table, 0x5000)]).toEqual([DATA, 3])
      expect(rig.unmap(table, 0x5000, 1)).toBe(0)
      expect([device.get(0x5008), device.put(0x5008, 1n)]).toEqual([-1n, -1])
      expect([rig.frameOf(table, 0x5000), rig.accessOf(table, 0x5000)]).toEqual([-1, 0])
    })

    test.each([
      [1, [2, -1]],
      [2, [-1, 2]],
      [3, [2, 2]],
    ])('access %i of a mapping: outcome of a read and a write', (access, outcomes) => {
      const { rig, device, table } = start()
      const { readOnly, writeOnly } = rig.driver.capabilities
      if ((access === 1 && !readOnly) || (access === 2 && !writeOnly)) {
        expect(rig.map(table, 0x5000, DATA, 1, access)).toBe(DriverStatus.unsupported)
        expect([device.read(0x5000), device.put(0x5000, 1n), rig.frameOf(table, 0x5000)]).toEqual([-1, -1, -1])
        return
      }
      rig.map(table, 0x5000, DATA, 1, access)
      rig.map(table, M2, 2048, 512, access)
      expect([device.read(0x5000), device.put(0x5000, 1n)]).toEqual(outcomes)
      expect([device.read(M2), device.put(M2, 1n)]).toEqual(outcomes)
      expect([rig.accessOf(table, 0x5000), rig.accessOf(table, M2)]).toEqual([access, access])
    })

    test('frames above 4 GiB, and the last page of every width', () => {
      const rig = new DriverRig(unit)
      rig.driver.enable()
      const device = rig.device()
      for (const bits of rig.driver.capabilities.tableWidths) {
        const table = rig.driver.createTable(bits)
        expect(rig.driver.attach(8, table)).toBe(0)
        const last = rig.end(bits) - 4096
        // Above 2^53 a number holds multiples of the page only: that is all that is asked.
        expect(rig.map(table, last, 0x100000 + 5, 1)).toBe(0)
        expect(device.put(last, BigInt(bits))).toBe(2)
        expect(rig.load(2 ** 32 + at(5))).toBe(BigInt(bits))
        expect(rig.frameOf(table, last)).toBe(0x100005)
        expect(rig.unmap(table, last, 1)).toBe(0)
        expect(device.get(last)).toBe(-1n)
      }
    })

    test('an address or range beyond the width, and no access at all, are unsupported', () => {
      const rig = new DriverRig(unit)
      rig.driver.enable()
      const bits = Math.min(...rig.driver.capabilities.tableWidths)
      const table = rig.driver.createTable(bits)
      const end = rig.end(bits)
      expect(rig.map(table, end, DATA, 1)).toBe(DriverStatus.unsupported)
      expect(rig.map(table, end - 4096, DATA, 2)).toBe(DriverStatus.unsupported)
      expect(rig.clear(table, end, 1)).toBe(DriverStatus.unsupported)
      expect(rig.map(table, 0x5000, DATA, 1, 0)).toBe(DriverStatus.unsupported)
      expect(rig.driver.createTable(33)).toBe(DriverStatus.unsupported)
      expect(rig.map(table, end - 4096, DATA, 1)).toBe(0)
    })

    test('a range across tables of every level', () => {
      const { rig, device, table } = start()
      for (const border of [
        M2,
        G1,
        ...[39, 48, 57].filter((bits) => bits < rig.bits && bits < 53).map((bits) => 2 ** bits),
      ]) {
        if (border >= rig.end(rig.bits)) continue
        expect(rig.map(table, border - 0x3000, DATA, 6)).toBe(0)
        for (let page = 0; page < 6; page++) {
          expect(device.put(border - 0x3000 + page * 4096, BigInt(page))).toBe(2)
          expect(rig.load(at(DATA + page))).toBe(BigInt(page))
        }
        expect(rig.unmap(table, border - 0x3000, 6)).toBe(0)
        for (let page = 0; page < 6; page++) expect(device.get(border - 0x3000 + page * 4096)).toBe(-1n)
      }
    })

    test('hundreds of separate ranges fit into one completion', () => {
      const { rig, device, table } = start()
      for (let i = 0; i < 700; i++) {
        rig.map(table, i * 0x4000, DATA + i, 1)
        device.put(i * 0x4000, 1n)
      }
      for (let i = 0; i < 700; i++) {
        rig.clear(table, i * 0x4000, 1)
        expect(rig.queue(table, i * 0x4000, 1)).toBe(0)
      }
      expect(rig.driver.completeInvalidations()).toBe(0)
      for (let i = 0; i < 700; i++) expect(device.put(i * 0x4000, 2n)).toBe(-1)
    })
  })

  describe('devices and tables', () => {
    test.skipIf(unit.open)('devices of several buses and tables see each their own', () => {
      const rig = new DriverRig(unit)
      const devices = [rig.device(8), rig.other(), rig.device(0, rig.newBus())]
      expect(rig.driver.enable()).toBe(0)
      const tables = devices.map(() => rig.driver.createTable(rig.bits))
      expect(new Set(tables).size).toBe(3)
      devices.forEach((device, i) => {
        expect(rig.driver.attach(device.requester, tables[i]!)).toBe(0)
        rig.map(tables[i]!, 0x5000, DATA + i, 1)
      })
      devices.forEach((device, i) => device.put(0x5000, BigInt(100 + i)))
      expect([0, 1, 2].map((i) => rig.load(at(DATA + i)))).toEqual([100n, 101n, 102n])
    })

    test.skipIf(unit.open)(
      'attach to another table: the old one is unreachable on return, also from the caches',
      () => {
        const { rig, device, table } = start()
        const other = rig.driver.createTable(rig.bits)
        rig.map(table, 0x5000, DATA, 1)
        rig.map(other, 0x6000, DATA + 1, 1)
        expect([device.put(0x5000, 1n), device.put(0x6000, 1n)]).toEqual([2, -1])
        expect(rig.driver.attach(8, other)).toBe(0)
        expect([device.put(0x5000, 1n), device.put(0x6000, 1n)]).toEqual([-1, 2])
        expect(rig.driver.destroyTable(table)).toBe(0)
      },
    )

    test.skipIf(unit.open)('block: faults on return, also from the caches; blocked twice is blocked', () => {
      const { rig, device, table } = start()
      rig.map(table, 0x5000, DATA, 1)
      device.put(0x5000, 1n)
      expect([rig.driver.block(8), rig.driver.block(8), rig.driver.block(99)]).toEqual([0, 0, 0])
      expect(device.put(0x5000, 2n)).toBe(-1)
      const told = unit.vague ? {} : { lo: 0x5000, write: true }
      expect(rig.faults()).toMatchObject([{ requester: rig.driver.groupOf(8), ...told }])
      expect(rig.driver.attach(8, table)).toBe(0)
      expect(device.put(0x5000, 3n)).toBe(2)
    })

    test('a destroyed table’s handle is given again, and nothing of the old one is left under it', () => {
      const { rig, device, table } = start()
      rig.map(table, 0x5000, DATA, 1)
      device.put(0x5000, 1n)
      rig.driver.block(8)
      expect(rig.driver.destroyTable(table)).toBe(0)
      const again = rig.driver.createTable(rig.bits)
      expect(again).toBe(table)
      rig.driver.attach(8, again)
      expect([device.put(0x5000, 2n), rig.driver.tablePages(again)]).toEqual([-1, unit.flat ? expect.any(Number) : 1])
    })

    test.skipIf(unit.open)('disable: DMA passes again, every page is given back; it can be enabled anew', () => {
      const { rig, device, table } = start()
      rig.map(table, 0x5000, DATA, 600)
      expect(rig.held.size).toBeGreaterThan(5)
      rig.driver.disable()
      expect(rig.held.size).toBe(0)
      expect(device.put(at(DATA), 1n)).toBe(1)
      expect(rig.driver.enable()).toBe(0)
      expect(device.put(at(DATA), 1n)).toBe(-1)
      const again = rig.driver.createTable(rig.bits)
      rig.driver.attach(8, again)
      rig.map(again, 0x5000, DATA, 1)
      expect([device.put(0x5000, 1n), rig.unmap(again, 0x5000, 1), device.put(0x5000, 1n)]).toEqual([2, 0, -1])
    })

    test.skipIf(unit.open)('ownFrames are the pages that it holds, and DMA to none of them succeeds', () => {
      const { rig, device, table } = start()
      rig.map(table, M2, DATA, 1)
      const own = rig.driver.ownFrames()
      expect(new Set(own)).toEqual(rig.held)
      for (const mfn of own) expect(device.put(at(mfn) - rig.origin, 1n)).toBe(-1)
    })

    test('mistakes of the caller are exceptions', () => {
      const rig = new DriverRig(unit)
      expect(() => rig.driver.completeInvalidations()).toThrow('used before it was enabled')
      const other = new DriverRig(unit)
      const { table } = other.start()
      expect(() => other.driver.enable()).toThrow('enabled twice')
      expect(() => other.driver.attach(8, 99)).toThrow('IOMMU table 99: does not exist')
      expect(() => other.driver.destroyTable(table)).toThrow('destroyed while a device is attached')
      other.map(table, 0x5000, DATA, 1)
      expect(() => other.map(table, 0x5000, DATA, 1)).toThrow('5000 is mapped')
      expect(() => other.map(table, 0x4000, DATA, 2)).toThrow('is mapped')
      other.map(table, M2, 0, 512)
      expect(() => other.map(table, M2 + 0x1000, DATA, 1)).toThrow('is mapped')
      expect(() => other.map(table, M2 + 0x1000, DATA, 2)).toThrow('is mapped')
    })
  })

  describe.skipIf(unit.vague || unit.open)('faults', () => {
    test('each record once, with requester, page and direction; the log is empty and usable afterwards', () => {
      const { rig, device } = start()
      expect(rig.faults()).toEqual([])
      for (let round = 0; round < 3; round++) {
        const common = { requester: 8, hi: 1, addressValid: true, lostBefore: false }
        expect(device.get(0x1_0000_7000)).toBe(-1n)
        expect(rig.faults()).toMatchObject([{ ...common, lo: 0x7000, write: false }])
        expect(device.put(0x1_0000_8000, 1n)).toBe(-1)
        expect(rig.faults()).toMatchObject([{ ...common, lo: 0x8000, write: true }])
        expect(rig.faults()).toEqual([])
      }
    })

    test('more than the log holds: the last record says that some were lost; then all is well again', () => {
      const { rig, device } = start()
      for (let i = 0; i < 400; i++) device.get(i * 4096)
      const seen = rig.faults()
      expect(seen.map(({ lostBefore }) => lostBefore)).toEqual(seen.map((_, i) => i === seen.length - 1))
      device.get(0x7000)
      expect(rig.faults()).toMatchObject([{ lo: 0x7000, lostBefore: false }])
    })

    test('the fault interrupt is the message that was set', () => {
      const { rig, device } = start()
      rig.driver.setFaultInterrupt(0xfee01000, 0x61)
      device.get(0)
      expect(rig.machine.interrupts.received[0x61]).toBe(1)
      rig.faults()
      device.get(0)
      expect(rig.machine.interrupts.received[0x61]).toBe(2)
    })
  })
}
