import { describe, expect, test } from 'vitest'
import { PAGE_A, RW } from './board.ts'
import { SHIFT, TABLE, FAULT, walk, chain } from './page-walk.ts'

/** Sizes of leaves (facts B.4). */

describe('a leaf of the default size (NextLevel 0) [amdvi.walk.default-size]', () => {
  test.each([
    [2, 0x12345678n & 0x1fffffn],
    [3, 0x3fffff08n],
    [4, 0x7f_0010_0008n],
    [5, 0xff12_0010_0008n],
  ])('at level %i the lower address bits pass through', (level, inside) => {
    // A leaf that leads to frame 0 and on: what is inside RAM is reached.
    const address = (5n << BigInt(SHIFT[level]!)) | (inside & ((1n << BigInt(SHIFT[level]!)) - 1n))
    const board = walk(6, address, [...chain(6, level), { level, entry: RW | 1n }])
    const expected = Number(inside & ((1n << BigInt(SHIFT[level]!)) - 1n))
    const device = board.device()
    expect(device.put(address & ~7n, 9n)).toBe(expected < 0x400000 ? 2 : -2)
    if (expected < 0x400000) expect(board.load(expected & ~7)).toBe(9n)
  })

  test('address bits below its size are not looked at', () => {
    const board = walk(4, 0x200000n, [...chain(4, 2), { level: 2, entry: 0x1ff000n | RW | 1n }])
    expect(board.device().put(0x200000 + PAGE_A, 4n)).toBe(2)
    expect(board.load(PAGE_A)).toBe(4n)
  })

  test('at level 6 there is none: an invalid level', () => {
    const board = walk(6, 0n, [{ level: 6, entry: RW | 1n }])
    expect(board.device().put(0, 1n)).toBe(-1)
    expect(board.events()).toEqual([FAULT('0b0', 0n)])
  })
})

describe('a leaf that carries its size (NextLevel 7) [amdvi.walk.sized]', () => {
  // size = 2^(first zero from 12 up + 1): bit 12 = 0 is 8 KiB, 01 16 KiB, 011 32 KiB.
  test.each([
    [1, 0x0000n, 0x2000],
    [1, 0x1000n, 0x4000],
    [1, 0x3000n, 0x8000],
    [1, 0x7f000n, 0x100000],
    [2, 0x1ff000n, 0x400000],
    [2, 0x3ff000n, 0x800000],
    [2, 0xffff000n, 0x20000000],
    [3, 0x3ffff000n, 0x80000000],
    [3, 0x1fff_ffff_f000n & 0x1f_ffff_f000n, 0x40_0000_0000],
  ])('at level %i, address field 0x%x: %i bytes, in every entry that it covers', (level, field, bytes) => {
    const base = BigInt(bytes) * 3n
    const board = walk(4, base, [...chain(4, level), { level, entry: field | RW | 0xe01n }])
    // Replicated: count = 2^((log2(size) − 12) mod 9).
    const count = 2 ** ((Math.log2(bytes) - 12) % 9)
    const first = TABLE[level]! + Number((base >> BigInt(SHIFT[level]!)) & 511n) * 8
    for (let i = 0; i < count; i++) board.store(first + i * 8, field | RW | 0xe01n)
    const device = board.device()
    const last = Math.min(bytes, 0x400000) - 8
    expect([device.put(base, 1n), device.put(base + BigInt(last), 2n)]).toEqual([2, 2])
    expect([board.load(0), board.load(last)]).toEqual([1n, 2n])
    // A page whose base is not frame 0.
    if (bytes > 0x100000) return
    for (let i = 0; i < count; i++) board.store(first + i * 8, field | BigInt(bytes * 2) | RW | 0xe01n)
    board.invalidate()
    expect(device.put(base + 0x18n, 3n)).toBe(2)
    expect(board.load(bytes * 2 + 0x18)).toBe(3n)
  })

  test.each([
    ['8 KiB at level 2', 2, 0x0000n],
    ['1 MiB at level 2', 2, 0x7f000n],
    ['2 MiB at level 1: the default size of the next level', 1, 0xff000n],
    ['2 MiB at level 2: its own default size', 2, 0xff000n],
    ['1 GiB at level 2', 2, 0x1ffff000n],
    ['no zero bit at all', 4, 0xffffffffff000n],
    ['8 KiB at level 6', 6, 0x0000n],
  ])('a size that does not belong to its level: %s [amdvi.walk.sized-bounds]', (_name, level, field) => {
    const board = walk(6, 0n, [...chain(6, level), { level, entry: field | RW | 0xe01n }])
    expect(board.device().put(0, 1n)).toBe(-1)
    expect(board.events()).toEqual([FAULT('0b0', 0n)])
  })

  test('an entry of the replica that was forgotten is absent [amdvi.walk.replicas]', () => {
    const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: RW | 0xe01n }])
    const device = board.device()
    expect([device.put(0x8, 1n), device.put(0x1008, 1n)]).toEqual([2, -1])
  })
})
