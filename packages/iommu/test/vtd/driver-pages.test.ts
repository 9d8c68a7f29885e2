import { describe, expect, test } from 'vitest'
import { DriverStatus } from '../../src/driver.ts'
import { vtdPersonalities } from '../../src/hardware.ts'
import type { Probe } from './board.ts'
import { DATA, Rig } from './rig.ts'

/** Large pages, splitting, and the life of table pages. */
const M2 = 2 ** 21
const G1 = 2 ** 30
const at = (mfn: number): number => mfn * 4096

/** How many table entries a walk reads after all translations were forgotten: 4 for 4K, 3 for 2M, 2 for 1G. */
function depth(rig: Rig, table: number, address: number): number {
  const device = rig.machine.pci.at(8) as Probe
  device.read(address, 1)
  rig.driver.queueTableInvalidation(table)
  rig.driver.completeInvalidations()
  const before = rig.machine.clock.snapshot().walkRead
  device.read(address, 1)
  return rig.machine.clock.snapshot().walkRead - before
}

describe('the largest page that fits', () => {
  test('2 MiB where address, frame and length allow; around it 4 KiB', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    expect(rig.map(table, M2 - 0x2000, 512 * 4 - 2, 516)).toBe(0)
    const walk = [M2 - 0x2000, M2 - 0x1000, M2, M2 + 0x1ff000, 2 * M2, 2 * M2 + 0x1000].map((address) => [
      depth(rig, table, address),
      rig.frameOf(table, address),
    ])
    expect(walk).toEqual([
      [4, 2046],
      [4, 2047],
      [3, 2048],
      [3, 2559],
      [4, 2560],
      [4, 2561],
    ])
    expect(device.put(M2 + 0x1ff008, 5n)).toBe(2)
    expect(rig.load(at(2559) + 8)).toBe(5n)
    // Root, one of each level below it, and a leaf table on each side: no leaf table for the large page.
    expect(rig.driver.tablePages(table)).toBe(5)
  })

  test('1 GiB where everything allows; nothing needs to be there', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    expect(rig.map(table, 4 * G1, 0, 2 ** 18 + 512)).toBe(0)
    expect([depth(rig, table, 4 * G1), depth(rig, table, 5 * G1)]).toEqual([2, 3])
    expect(device.put(4 * G1 + at(DATA), 8n)).toBe(2)
    expect(rig.load(at(DATA))).toBe(8n)
    expect(rig.frameOf(table, 5 * G1 - 4096)).toBe(2 ** 18 - 1)
    expect(rig.driver.tablePages(table)).toBe(3)
  })

  test('exact4k maps 4 KiB pages only; so does a unit without large pages', () => {
    const rig = new Rig()
    const { table } = rig.start()
    rig.map(table, M2, 512, 512, 3, true)
    expect([depth(rig, table, M2), rig.driver.tablePages(table)]).toEqual([4, 4])
    const small = new Rig({ personality: vtdPersonalities['nehalem-ep'] })
    const { table: other } = small.start()
    small.map(other, M2, 512, 512)
    expect([depth(small, other, M2), small.driver.tablePages(other)]).toEqual([4, 4])
  })

  test('a misaligned frame prevents it', () => {
    const rig = new Rig()
    const { table } = rig.start()
    rig.map(table, M2, 513, 512)
    expect(depth(rig, table, M2)).toBe(4)
  })

  test('where a leaf table stands already, it is filled, and one large page takes its place in one store', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, M2 + 0x3000, DATA, 1)
    rig.unmap(table, M2 + 0x3000, 1)
    expect(rig.map(table, M2, 2048, 512)).toBe(0)
    expect(depth(rig, table, M2)).toBe(3)
    expect(device.put(M2 + 0x1ff000, 1n)).toBe(2)
  })
})

describe('unmapping a part of a large page splits it; the rest stays (attack: pKVM-IA issue 104)', () => {
  test.each([
    ['the first page', 0, 1],
    ['the last page', 511, 1],
    ['a page inside', 100, 1],
    ['a run inside', 100, 50],
    ['all but the first', 1, 511],
    ['all but the last', 0, 511],
  ])('2 MiB: %s', (_name, first, pages) => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, M2, 2048, 512)
    device.get(M2 + first * 4096)
    expect(rig.unmap(table, M2 + first * 4096, pages)).toBe(0)
    for (let page = 0; page < 512; page++) {
      const gone = page >= first && page < first + pages
      expect(device.put(M2 + page * 4096, BigInt(page))).toBe(gone ? -1 : 2)
      if (!gone) expect(rig.load(at(2048 + page))).toBe(BigInt(page))
    }
    // What was data is never walked as a table.
    expect(rig.frameOf(table, M2 + ((first + pages) % 512) * 4096)).toBe(
      first + pages === 512 && first === 0 ? -1 : 2048 + ((first + pages) % 512),
    )
  })

  test('1 GiB: one page of it takes a level-2 and a level-1 table', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, G1, 0, 2 ** 18)
    expect(rig.driver.tablePages(table)).toBe(2)
    expect(rig.unmap(table, G1 + at(DATA), 1)).toBe(0)
    expect(rig.driver.tablePages(table)).toBe(4)
    expect(device.put(G1 + at(DATA), 1n)).toBe(-1)
    expect([
      device.put(G1 + at(DATA + 1), 1n),
      device.put(G1 + at(DATA - 1), 1n),
      device.put(G1 + at(3000), 1n),
    ]).toEqual([2, 2, 2])
    expect([depth(rig, table, G1 + at(DATA + 1)), depth(rig, table, G1)]).toEqual([4, 3])
  })

  test('a range from inside one 1 GiB page into the next splits both', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, G1, 0, 2 ** 19)
    expect(rig.unmap(table, 2 * G1 - M2 - 0x1000, 1024 + 2)).toBe(0)
    expect([rig.frameOf(table, 2 * G1 - M2 - 0x2000), rig.frameOf(table, 2 * G1 - M2 - 0x1000)]).toEqual([
      2 ** 18 - 514,
      -1,
    ])
    expect([rig.frameOf(table, 2 * G1 + M2), rig.frameOf(table, 2 * G1 + M2 + 0x1000)]).toEqual([-1, 2 ** 18 + 513])
    expect(device.get(2 * G1)).toBe(-1n)
  })

  test('rights stay as they were', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, M2, 2048, 512, 1)
    rig.unmap(table, M2, 1)
    expect([device.read(M2 + 0x1000, 8), device.put(M2 + 0x1000, 1n), rig.accessOf(table, M2 + 0x1000)]).toEqual([
      2, -1, 1,
    ])
  })
})

describe('out of table pages', () => {
  test('map: noMemory, nothing is mapped, no page is lost; with enough pages it then works', () => {
    for (let pages = 6; pages < 15; pages++) {
      const rig = new Rig({ pages })
      const { device, table } = rig.start()
      const status = rig.map(table, M2 - 0x1000, DATA, 1026)
      const reachable = [M2 - 0x1000, M2, 2 * M2, 3 * M2].some((address) => device.read(address, 8) === 2)
      // Queue, status, root, interrupt table, context, top table, level 3, level 2 and four leaf tables.
      expect([status, reachable]).toEqual(pages < 12 ? [DriverStatus.noMemory, false] : [0, true])
      rig.pages = 100
      if (status !== 0) expect(rig.map(table, M2 - 0x1000, DATA, 1026)).toBe(0)
      expect(device.read(3 * M2, 8)).toBe(2)
    }
  })

  test('unmap that must split: noMemory leaves all as it was', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, G1, 0, 2 ** 18)
    rig.pages = rig.held.size + 1
    expect(rig.unmap(table, G1 + at(DATA), 1)).toBe(DriverStatus.noMemory)
    expect(device.put(G1 + at(DATA), 1n)).toBe(2)
    expect(rig.held.size).toBe(rig.pages - 1)
    rig.pages++
    expect(rig.unmap(table, G1 + at(DATA), 1)).toBe(0)
  })

  test('createTable, attach of a new bus, enable: noMemory, nothing lost', () => {
    const rig = new Rig()
    const { table } = rig.start()
    rig.pages = rig.held.size
    expect(rig.driver.createTable(48)).toBe(DriverStatus.noMemory)
    expect(rig.driver.attach(0x200, table)).toBe(DriverStatus.noMemory)
    rig.pages++
    expect(rig.driver.attach(0x200, table)).toBe(0)
    // Queue, status, root, interrupt remapping table.
    for (let pages = 0; pages < 4; pages++) {
      const poor = new Rig({ pages })
      expect(poor.driver.enable()).toBe(DriverStatus.noMemory)
      expect(poor.held.size).toBe(0)
      poor.pages = 4
      expect(poor.driver.enable()).toBe(0)
    }
  })

  test('pages that map nothing any more are used again before noMemory', () => {
    const rig = new Rig({ pages: 9 })
    const { device, table } = rig.start()
    for (let round = 0; round < 20; round++) {
      // A different level-3 entry each time: two more pages.
      expect(rig.map(table, round * G1, DATA, 1)).toBe(0)
      expect(device.put(round * G1, BigInt(round))).toBe(2)
      expect(rig.unmap(table, round * G1, 1)).toBe(0)
    }
    expect(rig.held.size).toBeLessThanOrEqual(9)
  })

  test('reclaim gives back what maps nothing, and keeps what maps', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, 0, DATA, 1)
    rig.map(table, G1, DATA, 1)
    rig.map(table, 2 ** 40, DATA, 1)
    rig.unmap(table, G1, 1)
    rig.unmap(table, 2 ** 40, 1)
    expect(rig.driver.tablePages(table)).toBe(9)
    expect(rig.driver.reclaim(table)).toBe(5)
    expect([rig.driver.tablePages(table), rig.driver.reclaim(table)]).toEqual([4, 0])
    expect(device.read(0, 8)).toBe(2)
  })
})

describe('table pages are freed only after the unit forgot their directories [vtd.driver.table-pages]', () => {
  test('unmapping all that a leaf table spans retires it; it is freed by the completion, not before', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, M2, 2048, 512, 3, true)
    device.get(M2)
    const held = rig.held.size
    expect(rig.driver.unmap(table, 0, M2, 512)).toBe(0)
    expect(rig.held.size).toBe(held)
    expect(rig.driver.tablePages(table)).toBe(3)
    // The caller need not even ask for the invalidation of the range: the driver did.
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect(rig.held.size).toBe(held - 1)
    // A freed page of the rig leads to frame 0x777: reached through a stale directory, this would succeed.
    expect(device.get(M2 + 0x1000)).toBe(-1n)
  })

  test('the same for a whole level-2 table and its leaf tables', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    rig.map(table, G1, 0, 2048, 3, true)
    for (let page = 0; page < 2048; page += 512) device.get(G1 + at(page))
    const held = rig.held.size
    expect(rig.unmap(table, G1, 2 ** 18)).toBe(0)
    expect(rig.held.size).toBe(held - 5)
    for (let page = 0; page < 2048; page += 512) expect(device.get(G1 + at(page))).toBe(-1n)
  })

  test('destroyTable frees every page of it', () => {
    const rig = new Rig()
    const { device, table } = rig.start()
    const before = rig.held.size - rig.driver.tablePages(table)
    rig.map(table, M2 - 0x1000, 100, 2000)
    device.get(M2)
    rig.driver.block(8)
    expect(rig.driver.destroyTable(table)).toBe(0)
    expect(rig.held.size).toBe(before)
    expect(device.get(M2)).toBe(-1n)
  })
})
