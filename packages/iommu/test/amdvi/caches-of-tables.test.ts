import { describe, expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { IOVA, L2, L4, PAGE_A, RW } from './board.ts'
import { B, board, pages } from './cache-board.ts'

/** Caches go stale until they are invalidated (facts B.5, B.7): directories, device table entries. */

describe('directories [amdvi.cache.stale]', () => {
  const replaced = () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    // The level-2 entry now leads to a table that maps to the other page.
    made.store(0x43000, B, B)
    made.store(L2 + 8, 0x43000n | RW | 0x201n)
    return { made, device }
  }

  test('a replaced entry is used until an invalidation with PDE [amdvi.command.pages-directories]', () => {
    const { made, device } = replaced()
    pages(made, 0, IOVA)
    expect(device.get(IOVA)).toBe(0xaan)
    pages(made, 1, 0xfffff000, 0x7fffffff)
    expect(device.get(IOVA)).toBe(0xaan)
    pages(made, 2, IOVA)
    expect(device.get(IOVA)).toBe(0xbbn)
  })

  test.each([
    ['another page of the 2 MiB', 2, IOVA + 0x7000],
    ['a block that holds them', 3, (IOVA | 0x3fffff) & ~0xfff],
  ])('PDE with %s [amdvi.command.pages-directories]', (_name, flags, low) => {
    const { made, device } = replaced()
    pages(made, 0, IOVA)
    pages(made, flags, low)
    expect(device.get(IOVA + 0x1000)).toBe(0xbbn)
  })

  test('PDE elsewhere, or in another domain, changes nothing [amdvi.command.pages-directories]', () => {
    const { made, device } = replaced()
    pages(made, 0, IOVA)
    pages(made, 2, IOVA + 0x200000)
    pages(made, 2, IOVA, 0, 2)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})

describe('device table entries [amdvi.cache.stale]', () => {
  test('a changed entry is used until INVALIDATE_DEVTAB_ENTRY of it [amdvi.command.device]', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.entry(8, RW | 3n, 1n)
    expect(device.get(IOVA)).toBe(0xaan)
    made.invalidateDevice(9)
    expect(device.get(IOVA)).toBe(0xaan)
    made.invalidateDevice(8)
    expect(device.read(PAGE_A, 8)).toBe(1)
  })

  test('also one that lets everything pass [amdvi.command.device]', () => {
    const made = board((b) => b.entry(8, 0n))
    const device = made.device()
    expect(device.get(PAGE_A)).toBe(0xaan)
    made.entry(8, 3n)
    expect(device.get(PAGE_A)).toBe(0xaan)
    made.invalidateDevice()
    expect(device.get(PAGE_A)).toBe(-1n)
  })

  test('rights of a cached entry are checked each time [amdvi.dte.mode0]', () => {
    const made = board((b) => b.entry(8, 0x2000000000000003n))
    const device = made.device()
    expect([device.read(PAGE_A, 8), device.put(PAGE_A, 1n), device.put(PAGE_A, 1n)]).toEqual([1, -1, -1])
    expect(made.events()).toHaveLength(2)
  })

  test('an entry that faults is not remembered [amdvi.cache.errors]', () => {
    const made = board((b) => b.entry(8, 3n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.ordinary()
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('it is bounded: other functions push an entry out [amdvi.cache.shape]', () => {
    const made = board((b) => b.entry(16, BigInt(L4) | RW | 0x803n, 1n), {
      ...amdviPersonalities.hats6,
      devices: { sets: 1, ways: 1 },
    })
    const device = made.device()
    device.get(IOVA)
    made.entry(8, 3n)
    expect(device.get(IOVA)).toBe(0xaan)
    made.device(16).get(IOVA)
    expect(device.get(IOVA)).toBe(-1n)
  })
})

test('counters tell hits, misses, table reads, invalidations and faults [amdvi.cache.counters]', () => {
  const made = board()
  const device = made.device()
  const before = made.machine.clock.snapshot()
  device.get(IOVA)
  device.get(IOVA + 8)
  device.get(IOVA + 0x1000)
  made.invalidate()
  const after = made.machine.clock.snapshot()
  const grown = (name: keyof typeof after) => after[name] - before[name]
  expect(grown('contextMiss')).toBe(1)
  expect(grown('iotlbMiss')).toBe(2)
  expect(grown('iotlbHit')).toBe(1)
  // The device table entry and four levels; then one entry below the cached directory.
  expect(grown('walkRead')).toBe(6)
  expect(grown('dmaFault')).toBe(1)
  expect(grown('invalidation')).toBe(1)
})

test('a 2 MiB page serves all its 4 KiB pages after one walk [amdvi.cache.pieces]', () => {
  const made = board((b) => b.store(L2 + 8, RW | 1n))
  const device = made.device()
  for (let page = 0; page < 16; page++) device.get(IOVA + page * 0x1000)
  const { iotlbMiss, iotlbHit } = made.machine.clock.snapshot()
  expect([iotlbMiss, iotlbHit]).toEqual([1, 15])
})
