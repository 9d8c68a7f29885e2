import { describe, expect, test } from 'vitest'
import type { DriverPort } from '../../src/driver.ts'
import { vtdPersonalities } from '../../src/hardware.ts'
import { MachineTables, Need, VtdWalk } from '../../src/walk.ts'
import { changed, DATA, lower, Rig, upper } from './rig.ts'

/**
 * A device can act after any single store. After each one every page in question is walked in memory, as the unit would walk it with
 * empty caches: a page that stays mapped must lead to its frame with its rights, one that comes or goes to its frame or to nothing.
 */
interface Page {
  readonly address: number
  readonly mfn: number
  /** It may be absent at this moment. */
  readonly changing: boolean
}

class Watched {
  readonly rig: Rig
  events = 0
  /** Called after each store, too. */
  each: () => void = () => {}
  #watch: (() => void) | null = null

  constructor(personality = vtdPersonalities['sandybridge-ep']) {
    const after =
      <A extends unknown[]>(action: (...args: A) => void) =>
      (...args: A): void => {
        action(...args)
        this.events++
        this.#watch?.()
        this.each()
      }
    const wrap = (port: DriverPort) =>
      changed(port, {
        store64: after((mfn, index, hi, lo) => port.store64(mfn, index, hi, lo)),
        store128: after((mfn, index, hi0, lo0, hi1, lo1) => port.store128(mfn, index, hi0, lo0, hi1, lo1)),
        flushLine: after((mfn, index) => port.flushLine(mfn, index)),
        publish64: (mfn, index, hi, lo) => {
          after(() => port.store64(mfn, index, hi, lo))()
          after(() => port.flushLine(mfn, index))()
        },
      })
    this.rig = new Rig({ personality, wrap })
  }

  /** Runs `action` and looks at `pages` after each of its stores: how many there were. */
  during(requester: number, pages: readonly Page[], action: () => void): number {
    const { rig } = this
    const walk = new VtdWalk(
      new MachineTables(rig.machine.memory),
      rig.unit.personality.capabilities,
      rig.unit.personality.hostAddressBits,
    )
    const root = Number(rig.read64(0x20)) / 4096
    this.events = 0
    this.#watch = () => {
      for (const { address, mfn, changing } of pages) {
        const found = walk.request(root, requester, upper(address), lower(address), Need.write)
        if (found !== mfn && !(changing && found === -5))
          throw new Error(`after store ${this.events}: 0x${address.toString(16)} leads to ${found}`)
      }
    }
    action()
    this.#watch = null
    return this.events
  }
}

const M2 = 2 ** 21
const G1 = 2 ** 30
const page = (address: number, mfn: number, changing = false): Page => ({ address, mfn, changing })
const range = (address: number, mfn: number, count: number, changing = false, step = 1): Page[] =>
  Array.from({ length: Math.ceil(count / step) }, (_, i) => page(address + i * step * 4096, mfn + i * step, changing))

describe.each([
  vtdPersonalities['sandybridge-ep'],
  vtdPersonalities['nehalem-ep'],
  vtdPersonalities['sapphirerapids-sp'],
  vtdPersonalities.qemu39,
])('no valid address ever faults, $name [vtd.driver.stores]', (personality) => {
  const start = () => {
    const watched = new Watched(personality)
    return { watched, ...watched.rig.start() }
  }

  test('map beside mapped pages: new tables appear whole', () => {
    const { watched, table } = start()
    const { rig } = watched
    rig.map(table, M2 - 0x1000, DATA, 1)
    const stores = watched.during(8, [page(M2 - 0x1000, DATA), ...range(M2, DATA + 1, 600, true, 50)], () =>
      rig.map(table, M2, DATA + 1, 600),
    )
    expect(stores).toBeGreaterThan(600)
  })

  test('unmap of some pages leaves the others', () => {
    const { watched, table } = start()
    const { rig } = watched
    rig.map(table, M2, DATA + 1, 600)
    const gone = range(M2 + 0x10000, DATA + 17, 100, true, 7)
    watched.during(
      8,
      [...range(M2, DATA + 1, 16), ...gone, ...range(M2 + 116 * 4096, DATA + 117, 484, false, 40)],
      () => rig.unmap(table, M2 + 0x10000, 100),
    )
  })

  test('unmap of all that a table spans', () => {
    const { watched, table } = start()
    const { rig } = watched
    rig.map(table, M2 - 0x1000, DATA - 1, 514, 3, true)
    watched.during(8, [page(M2 - 0x1000, DATA - 1), ...range(M2, DATA, 512, true, 60), page(2 * M2, DATA + 512)], () =>
      rig.unmap(table, M2, 512),
    )
  })

  test('splitting a large page', () => {
    const { watched, table } = start()
    const { rig } = watched
    rig.map(table, M2, 2048, 512)
    const stores = watched.during(
      8,
      [
        ...range(M2, 2048, 100, false, 9),
        page(M2 + 100 * 4096, 2148, true),
        ...range(M2 + 101 * 4096, 2149, 411, false, 9),
      ],
      () => rig.unmap(table, M2 + 100 * 4096, 1),
    )
    expect(stores).toBeGreaterThan(personality.capabilities.pages2M ? 512 : 1)
  })

  test('splitting a 1 GiB page down to one of 4 KiB', () => {
    const { watched, table } = start()
    const { rig } = watched
    if (!personality.capabilities.pages1G) return
    rig.map(table, G1, 0, 2 ** 18)
    const kept = [0, 1, 511, 512, 2047, 2049, 2559, 2560, 2 ** 18 - 1].map((mfn) => page(G1 + mfn * 4096, mfn))
    watched.during(8, [...kept, page(G1 + 2048 * 4096, 2048, true)], () => rig.unmap(table, G1 + 2048 * 4096, 1))
  })

  test('reclaim', () => {
    const { watched, table } = start()
    const { rig } = watched
    rig.map(table, 0, DATA, 1)
    rig.map(table, M2, DATA + 1, 1)
    rig.unmap(table, M2, 1)
    expect(watched.during(8, [page(0, DATA)], () => rig.driver.reclaim(table))).toBe(2)
  })

  test('attach to another table: each request sees wholly the old or wholly the new context entry', () => {
    const { watched, table } = start()
    const { rig } = watched
    const other = rig.driver.createTable(rig.bits)
    const root = Number(rig.read64(0x20)) / 4096
    const { words } = rig.machine.memory
    const entry = (words[root * 1024]! >>> 12) * 1024 + 8 * 4
    // The new id with the old table would poison what is cached under the new id.
    const seen: string[] = []
    watched.during(8, [], () => {
      watched.each = () => seen.push(String(words.slice(entry, entry + 4)))
      rig.driver.attach(8, other)
    })
    const [before, after] = [seen[0], seen.at(-1)]
    expect(seen).toEqual(rig.driver.capabilities.coherent ? [after, after] : [before, after])
    expect(before === after).toBe(rig.driver.capabilities.coherent)
    expect([rig.driver.destroyTable(table), rig.driver.block(8)]).toEqual([0, 0])
  })
})

test('a context entry changes in one store; contexts are invalidated before translations, and waited for [vtd.driver.context.order]', () => {
  const events: string[] = []
  let context = -1
  const rig = new Rig({
    wrap: (port: DriverPort) =>
      changed(port, {
        store128: (mfn, index, ...words) => {
          events.push(mfn === context ? `context ${index}` : 'store128')
          port.store128(mfn, index, ...words)
        },
        store64: (mfn, index, hi, lo) => {
          if (mfn === context) events.push('half a context')
          port.store64(mfn, index, hi, lo)
        },
        storeCoherent128: (mfn, index, hi0, lo0, hi1, lo1) => {
          events.push(`descriptor ${lo0 & 0xf}`)
          port.storeCoherent128(mfn, index, hi0, lo0, hi1, lo1)
        },
      }),
  })
  const { table } = rig.start()
  const other = rig.driver.createTable(48)
  context = Number(rig.load(Number(rig.read64(0x20))) >> 12n)
  for (const action of [
    () => rig.driver.attach(8, other),
    () => rig.driver.attach(8, table),
    () => rig.driver.block(8),
  ]) {
    events.length = 0
    expect(action()).toBe(0)
    expect(events).toEqual(['context 16', 'descriptor 1', 'descriptor 2', 'descriptor 5'])
  }
  // From blocked nothing was cached: CM = 0.
  events.length = 0
  expect(rig.driver.attach(8, table)).toBe(0)
  expect(events).toEqual(['context 16'])
})
