/**
 * A device can act after any single store. After each one every page in question is walked in memory, as the unit would walk it with
 * empty caches: a page that stays mapped must lead to its frame, one that comes or goes to its frame or to nothing.
 */
import { expect, test } from 'vitest'
import type { DriverPort } from '../../src/driver.ts'
import { changed, DATA, DriverRig, type UnitUnderTest } from './driver-rig.ts'
import { G1, M2 } from './driver-suite.ts'

interface Page {
  readonly address: number
  readonly mfn: number
  /** It may be absent at this moment. */
  readonly changing: boolean
}

export class Watched {
  readonly rig: DriverRig
  events = 0
  readonly #unit: UnitUnderTest
  #watch: (() => void) | null = null

  constructor(unit: UnitUnderTest) {
    this.#unit = unit
    const after =
      <A extends unknown[]>(action: (...args: A) => void) =>
      (...args: A): void => {
        action(...args)
        this.events++
        this.#watch?.()
      }
    const wrap = (port: DriverPort) =>
      changed(port, {
        store64: after((mfn, index, hi, lo) => port.store64(mfn, index, hi, lo)),
        store32: after((mfn, index, value) => port.store32(mfn, index, value)),
        store128: after((mfn, index, hi0, lo0, hi1, lo1) => port.store128(mfn, index, hi0, lo0, hi1, lo1)),
        storeCoherent128: after((mfn, index, hi0, lo0, hi1, lo1) =>
          port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1),
        ),
        flushLine: after((mfn, index) => port.flushLine(mfn, index)),
        // A register write can switch tables.
        write32: after((address, value) => port.write32(address, value)),
        publish64: (mfn, index, hi, lo) => {
          after(() => port.store64(mfn, index, hi, lo))()
          after(() => port.flushLine(mfn, index))()
        },
      })
    this.rig = new DriverRig(unit, { wrap })
  }

  /** Runs `action` and looks at `pages` of device 00:01.0 after each of its stores: how many there were. */
  during(pages: readonly Page[], action: () => void): number {
    this.events = 0
    this.#watch = () => {
      for (const { address, mfn, changing } of pages) {
        const found = this.rig.walk(8, address)
        if (found !== mfn && !(changing && found === this.#unit.absent))
          throw new Error(`after store ${this.events}: 0x${address.toString(16)} leads to ${found}`)
      }
    }
    action()
    this.#watch = null
    return this.events
  }
}

export const page = (address: number, mfn: number, changing = false): Page => ({ address, mfn, changing })
export const range = (address: number, mfn: number, count: number, changing = false, step = 1): Page[] =>
  Array.from({ length: Math.ceil(count / step) }, (_, i) => page(address + i * step * 4096, mfn + i * step, changing))

export function driverOrderSuite(unit: UnitUnderTest): void {
  const start = () => {
    const watched = new Watched(unit)
    return { watched, rig: watched.rig, ...watched.rig.start() }
  }

  test('map beside mapped pages: new tables appear whole', () => {
    const { watched, rig, table } = start()
    rig.map(table, M2 - 0x1000, DATA, 1)
    const stores = watched.during([page(M2 - 0x1000, DATA), ...range(M2, DATA + 1, 600, true, 50)], () =>
      rig.map(table, M2, DATA + 1, 600),
    )
    expect(stores).toBeGreaterThan(600)
  })

  test('map of large pages', () => {
    const { watched, rig, table } = start()
    rig.map(table, M2 - 0x1000, DATA - 1, 1)
    watched.during([page(M2 - 0x1000, DATA - 1), ...range(M2, DATA, 1024, true, 50)], () =>
      rig.map(table, M2, DATA, 1024),
    )
    expect(rig.frameOf(table, M2 + 1023 * 4096)).toBe(DATA + 1023)
  })

  test('unmap of some pages leaves the others', () => {
    const { watched, rig, table } = start()
    rig.map(table, M2, DATA + 1, 600)
    const gone = range(M2 + 0x10000, DATA + 17, 100, true, 7)
    watched.during([...range(M2, DATA + 1, 16), ...gone, ...range(M2 + 116 * 4096, DATA + 117, 484, false, 40)], () =>
      rig.unmap(table, M2 + 0x10000, 100),
    )
  })

  test('unmap of all that a table spans', () => {
    const { watched, rig, table } = start()
    rig.map(table, M2 - 0x1000, DATA - 1, 514, 3, true)
    watched.during([page(M2 - 0x1000, DATA - 1), ...range(M2, DATA, 512, true, 60), page(2 * M2, DATA + 512)], () =>
      rig.unmap(table, M2, 512),
    )
  })

  test('splitting a large page', () => {
    const { watched, rig, table } = start()
    rig.map(table, M2, 2048, 512)
    const kept = [...range(M2, 2048, 100, false, 9), ...range(M2 + 101 * 4096, 2149, 411, false, 9)]
    const stores = watched.during([...kept, page(M2 + 100 * 4096, 2148, true)], () =>
      rig.unmap(table, M2 + 100 * 4096, 1),
    )
    if ((rig.driver.capabilities.pageSizes & (1 << 21)) !== 0) expect(stores).toBeGreaterThan(512)
  })

  test('splitting a 1 GiB page down to one of 4 KiB', () => {
    const { watched, rig, table } = start()
    if ((rig.driver.capabilities.pageSizes & (1 << 30)) === 0) return
    rig.map(table, G1, 0, 2 ** 18)
    const kept = [0, 1, 511, 512, 2047, 2049, 2559, 2560, 2 ** 18 - 1].map((mfn) => page(G1 + mfn * 4096, mfn))
    watched.during([...kept, page(G1 + 2048 * 4096, 2048, true)], () => rig.unmap(table, G1 + 2048 * 4096, 1))
  })

  test('mapping the rest of a large page back', () => {
    const { watched, rig, table } = start()
    rig.map(table, M2, 2048, 512)
    rig.unmap(table, M2 + 0x1f0000, 16)
    const back = range(M2 + 0x1f0000, 2048 + 0x1f0, 16, true)
    watched.during([...range(M2, 2048, 0x1f0, false, 9), ...back], () =>
      rig.map(table, M2 + 0x1f0000, 2048 + 0x1f0, 16),
    )
    watched.during([...range(M2, 2048, 512, false, 9)], () => rig.driver.completeInvalidations())
  })

  test.skipIf(unit.flat)('reclaim', () => {
    const { watched, rig, table } = start()
    rig.map(table, 0, DATA, 1)
    rig.map(table, M2, DATA + 1, 1)
    rig.unmap(table, M2, 1)
    expect(watched.during([page(0, DATA)], () => rig.driver.reclaim(table))).toBeGreaterThan(1)
    expect(rig.driver.tablePages(table)).toBe(Math.ceil((rig.bits - 12) / 9))
  })

  test.skipIf(unit.open)('attach to another table that maps the same: no request faults', () => {
    const { watched, rig, table } = start()
    const other = rig.driver.createTable(rig.bits)
    for (const each of [table, other]) rig.map(each, 0x5000, DATA, 1)
    expect(watched.during([page(0x5000, DATA)], () => rig.driver.attach(8, other))).toBeGreaterThan(0)
  })
}
