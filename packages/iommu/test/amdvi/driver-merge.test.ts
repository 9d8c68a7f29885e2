import { expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { DATA, DriverRig, type RigDevice } from '../shared/driver-rig.ts'
import { page, range, Watched } from '../shared/driver-order-suite.ts'
import { at, G1, M2 } from '../shared/driver-suite.ts'
import { amdviUnit } from '../shared/units.ts'

/** Pages that have become what one larger page is are made one, in one store, and the table below is freed when nothing knows it any more. */
const unit = amdviUnit(amdviPersonalities.hats6)

function start(): { rig: DriverRig; device: RigDevice; table: number } {
  const rig = new DriverRig(unit)
  return { rig, ...rig.start(48) }
}

test('two halves of 2 MiB become one page: the leaf table is retired, and freed by the next completion [amdvi.driver.pages]', () => {
  const { rig, device, table } = start()
  rig.map(table, M2, 2048, 256)
  device.get(M2)
  const held = rig.held.size
  expect(rig.driver.tablePages(table)).toBe(4)
  expect(rig.map(table, M2 + 256 * 4096, 2048 + 256, 256)).toBe(0)
  expect([rig.driver.tablePages(table), rig.held.size]).toEqual([3, held])
  expect(rig.driver.completeInvalidations()).toBe(0)
  expect(rig.held.size).toBe(held - 1)
  // Neither the leaf that was cached nor the directory leads into the freed page, whose entries lead to frame 0x777.
  for (const index of [0, 1, 255, 256, 511]) {
    expect(device.put(M2 + index * 4096, BigInt(index))).toBe(2)
    expect(rig.load(at(2048 + index))).toBe(BigInt(index))
  }
  expect(rig.unmap(table, M2, 512)).toBe(0)
  expect(device.get(M2)).toBe(-1n)
})

test('the hole of a split page is filled: it is one page again [amdvi.driver.pages]', () => {
  const { rig, device, table } = start()
  rig.map(table, M2, 2048, 512)
  rig.unmap(table, M2 + 0x10000, 2)
  expect(rig.driver.tablePages(table)).toBe(4)
  rig.map(table, M2 + 0x10000, 2048 + 16, 2)
  expect(rig.driver.tablePages(table)).toBe(3)
  expect(device.put(M2 + 0x11000, 1n)).toBe(2)
})

test('512 pages of 2 MiB become one of 1 GiB [amdvi.driver.pages]', () => {
  const { rig, device, table } = start()
  for (let part = 0; part < 512; part++) expect(rig.map(table, G1 + part * M2, part * 512, 512)).toBe(0)
  expect(rig.driver.tablePages(table)).toBe(2)
  expect(device.put(G1 + at(DATA), 4n)).toBe(2)
  expect(rig.load(at(DATA))).toBe(4n)
  expect([rig.frameOf(table, G1), rig.frameOf(table, 2 * G1 - 4096)]).toEqual([0, 2 ** 18 - 1])
  expect(rig.unmap(table, G1 + at(DATA), 1)).toBe(0)
  expect([device.put(G1 + at(DATA), 4n), device.put(G1 + at(DATA + 1), 5n)]).toEqual([-1, 2])
})

test.each([
  ['other rights', 2048 + 256, 1, false],
  ['frames that do not follow', 2048 + 257, 3, false],
  ['4 KiB pages are wanted', 2048 + 256, 3, true],
])('no larger page: %s [amdvi.driver.pages]', (_name, mfn, access, exact4k) => {
  const { rig, table } = start()
  rig.map(table, M2, 2048, 256)
  rig.map(table, M2 + 256 * 4096, mfn, 256, access, exact4k)
  expect(rig.driver.tablePages(table)).toBe(4)
})

test('nor with frames that are not aligned [amdvi.driver.pages]', () => {
  const { rig, table } = start()
  rig.map(table, M2, 2049, 256)
  rig.map(table, M2 + 256 * 4096, 2049 + 256, 256)
  expect(rig.driver.tablePages(table)).toBe(4)
})

test('no valid address faults meanwhile: every page is walked after every store [amdvi.driver.pages]', () => {
  const watched = new Watched(unit)
  const { rig } = watched
  const { table } = rig.start(48)
  rig.map(table, M2, 2048, 256)
  const old = range(M2, 2048, 256, false, 5)
  const stores = watched.during([...old, ...range(M2 + 256 * 4096, 2048 + 256, 256, true, 5)], () =>
    rig.map(table, M2 + 256 * 4096, 2048 + 256, 256),
  )
  expect([stores > 256, rig.driver.tablePages(table)]).toEqual([true, 3])
  watched.during([...old, page(2 * M2 - 4096, 2048 + 511)], () => rig.driver.completeInvalidations())
})
