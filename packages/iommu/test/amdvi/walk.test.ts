import { describe, expect, test } from 'vitest'
import { PAGE_A, RW } from './board.ts'
import { SHIFT, FAULT, walk, to, chain, leaf } from './page-walk.ts'

/** Page tables (facts B.4): levels, skipping, rights, reserved bits, widths. */

describe('levels 1 to 6 (B.4: shifts 12, 21, 30, 39, 48, 57)', () => {
  test.each([1, 2, 3, 4, 5, 6])('%i levels reach a 4 KiB page [amdvi.walk.levels]', (levels) => {
    // A different index at each level.
    const address = 0x9234_5678_9abc_d000n & ((1n << BigInt(SHIFT[levels]! + (levels === 6 ? 7 : 9))) - 1n)
    const board = walk(levels, address, [...chain(levels, 1), { level: 1, entry: leaf }])
    expect(board.device().put(address + 8n, 7n)).toBe(2)
    expect(board.load(PAGE_A + 8)).toBe(7n)
  })

  test.each([1, 2, 3, 4, 5])(
    '%i levels: an address bit above 9 × levels + 12 is a fault, PR = 0 [amdvi.walk.width]',
    (levels) => {
      const address = 1n << BigInt(12 + 9 * levels)
      const board = walk(levels, 0n, [...chain(levels, 1), { level: 1, entry: leaf }])
      const device = board.device()
      expect([
        device.put(0, 1n),
        device.put(address - 4096n, 1n),
        device.put(address, 1n),
        device.read(1n << 63n, 8),
      ]).toEqual([2, -1, -1, -1])
      expect(board.events()).toEqual([FAULT('020', address - 4096n), FAULT('020', address), FAULT('000', 1n << 63n)])
    },
  )

  test('6 levels take all 64 bits [amdvi.walk.width]', () => {
    const address = 0xffff_ffff_ffff_f000n
    const board = walk(6, address, [...chain(6, 1), { level: 1, entry: leaf }])
    expect(board.device().put(address, 1n)).toBe(2)
  })
})

describe('levels can be skipped, if the address bits of what is skipped are 0 (B.4) [amdvi.walk.skip]', () => {
  test.each([
    [6, 1],
    [4, 1],
    [4, 2],
    [3, 1],
  ])('from %i to %i', (from, down) => {
    const address = 1n << BigInt(SHIFT[from]!)
    const board = walk(6, address, [
      ...chain(6, from),
      { level: from, entry: to(down) },
      ...chain(down, 1),
      { level: 1, entry: leaf },
    ])
    expect(board.device().put(address, 3n)).toBe(2)
    expect(board.load(PAGE_A)).toBe(3n)
  })

  test.each([2, 3, 4, 5])('a bit of skipped level %i set: a fault with PR', (skipped) => {
    const address = (1n << BigInt(SHIFT[skipped]!)) | (1n << 57n)
    const board = walk(6, address, [
      { level: 6, entry: to(1) },
      { level: 1, entry: leaf },
    ])
    expect(board.device().read(address, 8)).toBe(-1)
    expect(board.events()).toEqual([FAULT('010', address)])
  })

  test('the highest and the lowest bit of each skipped level count', () => {
    for (const bit of [21, 29, 30, 31, 32, 38]) {
      const address = 1n << BigInt(bit)
      const board = walk(4, address, [
        { level: 4, entry: to(1) },
        { level: 1, entry: leaf },
      ])
      expect([board.device().put(address, 1n), board.events()]).toEqual([-1, [FAULT('030', address)]])
    }
  })

  test.each([
    ['to its own level', 4],
    ['to a higher one', 5],
    ['to the sixth', 6],
  ])('an entry that leads %s is an invalid level: PR and RZ [amdvi.walk.next]', (_name, next) => {
    const board = walk(4, 0n, [{ level: 4, entry: to(next) }])
    expect(board.device().put(0, 1n)).toBe(-1)
    expect(board.events()).toEqual([FAULT('0b0', 0n)])
  })

  test.each([1, 2, 3, 4, 5, 6])('at level 1, NextLevel %i is no leaf [amdvi.walk.next]', (next) => {
    const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: leaf | (BigInt(next) << 9n) }])
    expect([board.device().read(0, 8), board.events()]).toEqual([-1, [FAULT('090', 0n)]])
  })
})

describe('rights: IR and IW are ANDed from the device table entry down (B.4) [amdvi.walk.rights]', () => {
  const R = 0x2000000000000000n
  const W = 0x4000000000000000n
  test.each([4, 3, 2, 1, 0])('missing at level %i (0 is the device table entry)', (level) => {
    for (const [rights, outcomes, events] of [
      [R, [2, -1], [FAULT('070', 0n)]],
      [W, [-1, 2], [FAULT('050', 0n)]],
      [0n, [-1, -1], [FAULT('050', 0n), FAULT('070', 0n)]],
    ] as const) {
      const steps = [4, 3, 2].map((at) => ({ level: at, entry: to(at - 1, at === level ? rights : RW) }))
      const board = walk(
        4,
        0n,
        [...steps, { level: 1, entry: BigInt(PAGE_A) | 1n | (level === 1 ? rights : RW) }],
        level === 0 ? rights : RW,
      )
      const device = board.device()
      expect([device.read(0, 8), device.put(0, 1n)]).toEqual(outcomes)
      expect(board.events()).toEqual(events)
    }
  })

  test('rights of two levels that have none in common', () => {
    const board = walk(4, 0n, [
      { level: 4, entry: to(3, R) },
      { level: 3, entry: to(2, W) },
      ...chain(2, 1),
      { level: 1, entry: leaf },
    ])
    const device = board.device()
    expect([device.read(0, 8), device.put(0, 1n)]).toEqual([-1, -1])
  })

  test('rights that were cached are not those of the way down alone (QEMU serves the write)', () => {
    const board = walk(4, 0n, [{ level: 4, entry: to(3, R) }, ...chain(3, 1), { level: 1, entry: leaf }])
    const device = board.device()
    expect([device.read(0, 8), device.put(0, 1n), device.read(0, 8)]).toEqual([2, -1, 2])
  })
})

describe('PR, and reserved bits (B.4)', () => {
  test.each([4, 3, 2, 1])(
    'PR = 0 at level %i: nothing else of the entry counts; flags 0x000 of a read, 0x020 of a write [amdvi.walk.present]',
    (level) => {
      const board = walk(4, 0n, [...chain(4, level), { level, entry: 0xfffffffffffffffen }])
      const device = board.device()
      expect([device.read(0x18, 8), device.put(0x18, 1n)]).toEqual([-1, -1])
      expect(board.events()).toEqual([FAULT('000', 0x18n), FAULT('020', 0x18n)])
    },
  )

  test.each(Array.from({ length: 9 }, (_, i) => 52 + i))(
    'bit %i of an entry that leads to a table is reserved (60:52): PR and RZ [amdvi.walk.reserved-table]',
    (bit) => {
      const board = walk(4, 0n, [
        ...chain(4, 2),
        { level: 2, entry: to(1) | (1n << BigInt(bit)) },
        { level: 1, entry: leaf },
      ])
      expect(board.device().put(0, 1n)).toBe(-1)
      expect(board.events()).toEqual([FAULT('0b0', 0n)])
    },
  )

  test('also where it skips a level [amdvi.walk.reserved-table]', () => {
    const board = walk(4, 0n, [
      { level: 4, entry: to(1) | (1n << 60n) },
      { level: 1, entry: leaf },
    ])
    expect(board.device().put(0, 1n)).toBe(-1)
  })

  test.each([
    [52, false],
    [58, false],
    [59, true],
    [60, true],
    [63, true],
    [1, true],
    [4, true],
    [5, true],
    [8, true],
  ])(
    'bit %i of a leaf: allowed %s (58:52 reserved; U 59, FC 60; 63, 8:7 and 4:1 ignored) [amdvi.walk.reserved-leaf]',
    (bit, allowed) => {
      const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: leaf | (1n << BigInt(bit)) }])
      expect(board.device().put(0, 1n)).toBe(allowed ? 2 : -1)
      expect(board.events()).toEqual(allowed ? [] : [FAULT('0b0', 0n)])
    },
  )

  test('reserved bits come before rights (B.4) [amdvi.walk.order]', () => {
    const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: BigInt(PAGE_A) | 1n | (1n << 55n) }])
    expect([board.device().put(0, 1n), board.events()]).toEqual([-1, [FAULT('0b0', 0n)]])
  })

  test('rights come before level and size (B.4) [amdvi.walk.order]', () => {
    const board = walk(4, 0n, [{ level: 4, entry: to(6, 0n) }])
    expect([board.device().put(0, 1n), board.events()]).toEqual([-1, [FAULT('070', 0n)]])
  })
})

describe('frames [amdvi.walk.frames]', () => {
  test('above 4 GiB', () => {
    const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: 0x100005000n | RW | 1n }])
    expect(board.device().put(8, 6n)).toBe(2)
    expect(board.load(2 ** 32 + 0x5008)).toBe(6n)
  })

  test.each([0xfffff00000000n, 0x80000000000n, 0x200000100000n, 0x800000100000n])(
    '0x%x is no RAM: it aliases none',
    (frame) => {
      const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: frame | RW | 1n }])
      const device = board.device()
      expect([device.put(0, 6n), device.put(0, 6n)]).toEqual([-2, -2])
      expect(board.events()).toEqual([])
    },
  )

  test('a large page that is RAM only in part', () => {
    const board = walk(4, 0n, [...chain(4, 3), { level: 3, entry: RW | 1n }])
    const device = board.device()
    expect([
      device.put(0x3ff000, 1n),
      device.put(0x400000, 1n),
      device.put(0x3ff000, 1n),
      device.put(0x400000, 1n),
    ]).toEqual([2, -2, 2, -2])
  })
})

test('a transfer is done page by page up to the first that faults [amdvi.walk.pieces]', () => {
  const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: leaf }])
  const device = board.device()
  expect(device.write(0xff8, new Uint8Array(16).fill(0x5a))).toBe(-1)
  expect(board.load(PAGE_A + 0xff8)).toBe(0x5a5a5a5a5a5a5a5an)
  expect(board.events()).toEqual([FAULT('020', 0x1000n)])
})

test('a zero-length read needs the right to read [amdvi.walk.pieces]', () => {
  const board = walk(4, 0n, [...chain(4, 1), { level: 1, entry: BigInt(PAGE_A) | 0x4000000000000001n }])
  const device = board.device()
  expect([device.read(0, 0), device.put(0, 1n)]).toEqual([-1, 2])
})
