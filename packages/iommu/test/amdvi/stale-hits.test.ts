import { describe, expect, test } from 'vitest'
import type { AmdviTranslator } from '../../src/amdvi/hardware/translator.ts'
import { amdviPersonalities } from '../../src/hardware.ts'
import { DATA, DriverRig } from '../shared/driver-rig.ts'
import { amdviUnit } from '../shared/units.ts'
import { type Board, IOVA, L1, L2, L4, PAGE_A, PAGE_B, RW } from './board.ts'
import { A, B, board, pages } from './cache-board.ts'

/** The detector of accesses that a cache served although memory no longer grants them (facts I). [amdvi.stale-hit] */
interface Seen {
  requester: number
  address: number
  write: boolean
  mfn: number
}

function watched(change?: (b: Board) => void) {
  const made = board(change)
  const seen: Seen[] = []
  made.unit.onStaleHit = ({ requester, hi, lo, write, mfn }) =>
    seen.push({ requester, address: (hi >>> 0) * 2 ** 32 + (lo >>> 0), write, mfn })
  return { made, device: made.device(), taken: () => seen.splice(0) }
}

const hit = (mfn: number, write = false, address = IOVA): Seen => ({ requester: 8, address, write, mfn })

describe('what is stale [amdvi.stale-hit]', () => {
  test('a page that was unmapped, until it is invalidated', () => {
    const { made, device, taken } = watched()
    expect([device.get(IOVA), device.get(IOVA), taken()]).toEqual([0xaan, 0xaan, []])
    made.store(L1, 0n)
    expect([device.get(IOVA), device.put(IOVA + 8, 1n)]).toEqual([0xaan, 2])
    expect(taken()).toEqual([hit(PAGE_A / 4096), hit(PAGE_A / 4096, true, IOVA + 8)])
    pages(made, 0, IOVA)
    expect([device.get(IOVA), taken()]).toEqual([-1n, []])
  })

  test('a page that leads elsewhere now', () => {
    const { made, device, taken } = watched()
    device.get(IOVA)
    made.store(L1, B)
    expect([device.get(IOVA), taken()]).toEqual([0xaan, [hit(PAGE_A / 4096)]])
  })

  test('a right that was taken away; the one that is left is not stale', () => {
    const { made, device, taken } = watched()
    device.get(IOVA)
    made.store(L1, BigInt(PAGE_A) | 0x2000000000000001n)
    expect([device.get(IOVA), device.put(IOVA, 1n), taken()]).toEqual([0xaan, 2, [hit(PAGE_A / 4096, true)]])
  })

  test('a table that a directory cache still knows', () => {
    const { made, device, taken } = watched()
    device.get(IOVA)
    made.store(0x43000, B, B)
    made.store(L2 + 8, 0x43000n | RW | 0x201n)
    pages(made, 0, IOVA)
    expect([device.get(IOVA), taken()]).toEqual([0xaan, [hit(PAGE_A / 4096)]])
  })

  test('a device table entry that was changed: blocked, passing, in another domain', () => {
    const { made, device, taken } = watched()
    device.get(IOVA)
    made.entry(8, 3n)
    expect([device.get(IOVA), taken()]).toEqual([0xaan, [hit(PAGE_A / 4096)]])
    // Untranslated, the same address leads to another frame.
    made.entry(8, 0n)
    expect([device.get(IOVA), taken()]).toEqual([0xaan, [hit(PAGE_A / 4096)]])
    made.entry(8, BigInt(L4) | RW | 0x803n, 2n)
    expect([device.get(IOVA), taken()]).toEqual([0xaan, []])
  })

  test('an entry that let everything pass', () => {
    const { made, device, taken } = watched((b) => b.entry(8, 0n))
    device.get(PAGE_A)
    made.entry(8, 3n)
    expect([device.get(PAGE_A), taken()]).toEqual([0xaan, [hit(PAGE_A / 4096, false, PAGE_A)]])
  })

  test('the right of an entry that is the only check', () => {
    const { made, device, taken } = watched((b) => b.entry(8, RW | 3n))
    device.get(PAGE_A)
    made.entry(8, 0x2000000000000003n)
    expect([device.get(PAGE_A), device.put(PAGE_A, 1n)]).toEqual([0xaan, 1])
    expect(taken()).toEqual([hit(PAGE_A / 4096, true, PAGE_A)])
  })

  test('frames that are no RAM: −1; that both are none is not stale', () => {
    const { made, device, taken } = watched((b) => b.store(L1, 0xf0000000n | RW | 1n))
    device.get(IOVA)
    made.store(L1, 0xf1000000n | RW | 1n)
    expect([device.get(IOVA), taken()]).toEqual([-2n, []])
    made.store(L1, 0n)
    expect([device.get(IOVA), taken()]).toEqual([-2n, [hit(-1)]])
  })

  test('a large page, above 4 GiB', () => {
    const { made, device, taken } = watched((b) => b.store(L2 + 8, 0x100000000n | RW | 1n))
    device.get(IOVA)
    made.store(L2 + 8, RW | 1n)
    expect(device.read(IOVA + 0x5000, 8)).toBe(2)
    expect(taken()).toEqual([hit(0x100005, false, IOVA + 0x5000)])
  })

  test('each page of a transfer on its own', () => {
    const { made, device, taken } = watched((b) => b.store(L1, A, B))
    device.read(IOVA + 0xff8, 16)
    made.store(L1 + 8, A)
    device.read(IOVA + 0xff8, 16)
    expect(taken()).toEqual([hit(PAGE_B / 4096, false, IOVA + 0x1000)])
  })
})

describe('what it leaves alone [amdvi.stale-hit]', () => {
  test('counters, event log, accessed and dirty bits', () => {
    const run = (watch: boolean) => {
      const made = board((b) => b.entry(8, BigInt(L4) | RW | 0x983n, 1n))
      if (watch) made.unit.onStaleHit = () => {}
      const device = made.device()
      device.get(IOVA)
      made.store(L1, A | 0x40n)
      device.put(IOVA, 1n)
      made.store(L1, 0n)
      device.get(IOVA)
      device.get(IOVA + 0x1000)
      return [made.load(L1), made.load(L2 + 8), made.events(), made.machine.clock.snapshot()]
    }
    expect(run(true)).toEqual(run(false))
  })

  test('without it accesses are as fast as before: it is asked nothing', () => {
    const { made, device, taken } = watched()
    expect(made.unit.onStaleHit).not.toBeNull()
    made.unit.onStaleHit = null
    device.get(IOVA)
    made.store(L1, 0n)
    expect([device.get(IOVA), taken(), made.unit.onStaleHit]).toEqual([0xaan, [], null])
  })
})

test('the driver never causes one; one that forgets the invalidation does [amdvi.stale-hit, amdvi.driver.steps]', () => {
  const stale: number[] = []
  const unit = amdviUnit(amdviPersonalities.hats6)
  const rig = new DriverRig({
    ...unit,
    install: (machine) => {
      const installed = unit.install(machine)
      ;(machine.pci.translator as AmdviTranslator).onStaleHit = ({ lo }) => stale.push(lo)
      return installed
    },
  })
  const { device, table } = rig.start()
  const access = () => [device.put(0x5000, 1n), device.put(0x200000, 1n), device.put(0x3ff000, 1n)]
  rig.map(table, 0x5000, DATA, 1)
  rig.map(table, 0x200000, 2048, 512)
  expect(access()).toEqual([2, 2, 2])
  rig.unmap(table, 0x5000, 1)
  rig.unmap(table, 0x200000, 1)
  expect(access()).toEqual([-1, -1, 2])
  rig.map(table, 0x200000, 2048, 1)
  rig.driver.attach(8, rig.driver.createTable(rig.bits))
  rig.driver.attach(8, table)
  expect([access(), stale]).toEqual([[-1, 2, 2], []])
  rig.driver.unmap(table, 0, 0x3ff000, 1)
  expect([access(), stale]).toEqual([[-1, 2, 2], [0x3ff000]])
  rig.driver.queueInvalidation(table, 0, 0x3ff000, 1)
  rig.driver.completeInvalidations()
  expect(access()).toEqual([-1, 2, -1])
})
