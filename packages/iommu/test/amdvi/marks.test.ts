import { describe, expect, test } from 'vitest'
import { type AmdviPersonalityName, amdviPersonalities } from '../../src/hardware.ts'
import { Board, IOVA, L1, L2, L3, L4, PAGE_A, RW } from './board.ts'

/** Host accessed and dirty bits (facts B.2 EFR 49 HASup, 52 HDSup; B.3 HAD 8:7; B.4 A 5, D 6). */
const A = 0x20n
const D = 0x40n

function board(had: bigint, leaf = BigInt(PAGE_A) | RW | 1n, name: AmdviPersonalityName = 'hats6') {
  const made = new Board({ personality: amdviPersonalities[name] })
  made.ordinary(8, leaf)
  made.entry(8, BigInt(L4) | RW | 0x803n | had, 1n)
  made.turnOn()
  const device = made.device()
  /** A and D of the entries from level 4 down. */
  const marks = () => [L4, L3, L2 + 8, L1].map((at) => made.load(at) & (A | D))
  return { made, device, marks }
}

test('HAD 0: no bit is set [amdvi.marks.had]', () => {
  const { device, marks } = board(0n)
  device.put(IOVA, 1n)
  expect(marks()).toEqual([0n, 0n, 0n, 0n])
})

test('HAD 1: accessed bits on the way down, never dirty [amdvi.marks.had]', () => {
  const { device, marks } = board(0x80n)
  device.put(IOVA, 1n)
  expect(marks()).toEqual([A, A, A, A])
})

test('HAD 3: a read sets accessed bits, the first write the leaf’s dirty bit, though the translation is cached [amdvi.marks.had, amdvi.marks.cached]', () => {
  const { device, marks } = board(0x180n)
  device.get(IOVA)
  expect(marks()).toEqual([A, A, A, A])
  device.get(IOVA)
  device.put(IOVA, 1n)
  expect(marks()).toEqual([A, A, A, A | D])
})

test('HAD 2 is reserved: no bit is set [amdvi.marks.had]', () => {
  const { device, marks } = board(0x100n)
  device.put(IOVA, 1n)
  expect(marks()).toEqual([0n, 0n, 0n, 0n])
})

test.each([0n, 1n, 2n, 3n])('HADUpdate %i leaves that to HAD [amdvi.register.had-update]', (update) => {
  const { made, device, marks } = board(0x180n)
  made.write64(0x18, (update << 46n) | 0x1405n)
  expect(made.read64(0x18)).toBe((update << 46n) | 0x1405n)
  device.put(IOVA, 1n)
  expect(marks()).toEqual([A, A, A, A | D])
})

test.each<[AmdviPersonalityName, bigint, bigint]>([
  ['hats4', 0n, 0n],
  ['hats5', A, A],
  ['qemu', 0n, 0n],
])('%s has not all of it (HASup, HDSup) [amdvi.marks.features]', (name, directory, leaf) => {
  const { device, marks } = board(0x180n, BigInt(PAGE_A) | RW | 1n, name)
  device.put(IOVA, 1n)
  expect(marks()).toEqual([directory, directory, directory, leaf])
})

test('a walk that faults marks nothing [amdvi.marks.leaf]', () => {
  const { device, marks } = board(0x180n, BigInt(PAGE_A) | 0x2000000000000001n)
  expect(device.put(IOVA, 1n)).toBe(-1)
  expect(marks()).toEqual([0n, 0n, 0n, 0n])
})

test('after software cleared D, a cached translation does not set it again; after an invalidation it does [amdvi.marks.cached]', () => {
  const { made, device, marks } = board(0x180n)
  device.put(IOVA, 1n)
  made.store(L1, BigInt(PAGE_A) | RW | 1n)
  device.put(IOVA, 2n)
  expect(marks()[3]).toBe(0n)
  made.invalidate()
  device.put(IOVA, 3n)
  expect(marks()[3]).toBe(A | D)
})

test('a page that is dirty already is cached with the right to write [amdvi.marks.cached]', () => {
  const { made, device } = board(0x180n, BigInt(PAGE_A) | RW | 1n | D)
  device.get(IOVA)
  made.store(L1, 0n)
  expect(device.put(IOVA, 1n)).toBe(2)
})

describe('large pages [amdvi.marks.leaf]', () => {
  test('a 2 MiB page is one leaf', () => {
    const { made, device } = board(0x180n)
    made.store(L2 + 8, RW | 1n)
    device.get(IOVA + PAGE_A)
    expect(made.load(L2 + 8) & (A | D)).toBe(A)
    device.put(IOVA + PAGE_A + 0x5000, 1n)
    expect(made.load(L2 + 8) & (A | D)).toBe(A | D)
  })

  test('of a page with replicas, the one that was walked is marked', () => {
    const { made, device } = board(0x180n)
    made.store(L1, BigInt(PAGE_A) | RW | 0xe01n, BigInt(PAGE_A) | RW | 0xe01n)
    device.put(IOVA + 0x1000, 1n)
    expect([made.load(L1) & (A | D), made.load(L1 + 8) & (A | D)]).toEqual([0n, A | D])
  })

  test('where nothing is cached too: from 2^60 up', () => {
    const { made, device } = board(0x180n)
    made.entry(8, 0x45000n | RW | 0xc03n | 0x180n, 1n)
    made.invalidateDevice()
    made.store(0x45000 + 64, BigInt(L1) | RW | 0x201n)
    device.put(0x1000_0000_0000_0000n, 1n)
    expect([made.load(0x45000 + 64) & (A | D), made.load(L1) & (A | D)]).toEqual([A, A | D])
  })
})
