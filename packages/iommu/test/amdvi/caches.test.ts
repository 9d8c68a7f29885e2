import { describe, expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { type Board, IOVA, L1, L2, L3, L4, PAGE_A, RW } from './board.ts'
import { A, B, board, pages } from './cache-board.ts'

/** Caches go stale until they are invalidated, and an invalidation reaches what it names (facts B.5, B.7): translations. */

describe('translations (IOTLB)', () => {
  test.each([
    ['all pages', (made: Board) => pages(made, 1, 0xfffff000, 0x7fffffff)],
    ['all pages and directories', (made: Board) => pages(made, 3, 0xfffff000, 0x7fffffff)],
    ['the page', (made: Board) => pages(made, 0, IOVA)],
    ['8 KiB: bit 12 is 0', (made: Board) => pages(made, 1, IOVA)],
    ['16 KiB: 01', (made: Board) => pages(made, 1, IOVA | 0x1000)],
    ['everything: INVALIDATE_IOMMU_ALL', (made: Board) => made.command(0, 0x80000000)],
  ])(
    'a cleared entry is used until an invalidation of %s [amdvi.cache.stale, amdvi.command.pages, amdvi.command.all]',
    (_name, invalidate) => {
      const made = board()
      const device = made.device()
      expect(device.get(IOVA)).toBe(0xaan)
      made.store(L1, 0n)
      expect(device.get(IOVA)).toBe(0xaan)
      expect(device.put(IOVA, 0xccn)).toBe(2)
      invalidate(made)
      expect(device.get(IOVA)).toBe(-1n)
      expect(made.events()).toEqual(['2000000100000008 0000000000200000'])
      expect(made.load(PAGE_A)).toBe(0xccn)
    },
  )

  test('matching is by domain, not by device [amdvi.command.pages]', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    pages(made, 3, 0xfffff000, 0x7fffffff, 2)
    pages(made, 0, IOVA, 0, 0x101)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('a device invalidation alone leaves translations of its domain [amdvi.command.device]', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    made.invalidateDevice()
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('sizes: 2^(first zero from 12 up + 1), naturally aligned [amdvi.command.pages-size]', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 16 }, () => A)))
    const device = made.device()
    const seen = () =>
      Array.from({ length: 16 }, (_, page) => (device.get(IOVA + page * 0x1000) === 0xaan ? 'a' : 'b')).join('')
    seen()
    made.store(L1, ...Array.from({ length: 16 }, () => B))
    pages(made, 0, IOVA + 0x10000)
    expect(seen()).toBe('aaaaaaaaaaaaaaaa')
    pages(made, 0, IOVA + 0x5000)
    expect(seen()).toBe('aaaaabaaaaaaaaaa')
    // 0x208000, bit 12 = 0: 8 KiB; 0x20D000, 01: 16 KiB from 0x20C000.
    pages(made, 1, IOVA + 0x8000)
    expect(seen()).toBe('aaaaabaabbaaaaaa')
    pages(made, 1, IOVA + 0xd000)
    expect(seen()).toBe('aaaaabaabbaabbbb')
    // 0111 with more bits above: 64 KiB.
    pages(made, 1, IOVA + 0x7000)
    expect(seen()).toBe('bbbbbbbbbbbbbbbb')
  })

  test.each([
    ['128 pages', 0x3f000, 0, 'ba'],
    ['2 MiB', 0xff000, 0, 'ba'],
    ['4 GiB', 0x7ffff000, 0, 'bb'],
    ['8 GiB', 0xfffff000, 0, 'bb'],
    ['512 GiB', 0xfffff000, 0x3f, 'bb'],
    ['2^51 bytes', 0xfffff000, 0x3ffff, 'bb'],
    ['first zero 51', 0xfffff000, 0x7ffff, 'bb'],
    ['no zero bit', 0xfffff000, 0xffffffff, 'bb'],
  ])('%s around the first page [amdvi.command.pages-size]', (_name, low, high, wanted) => {
    // The second page is 2 MiB further on, with a leaf table of its own.
    const made = board((b) => {
      b.store(L2 + 16, 0x24000n | RW | 0x201n)
      b.store(0x24000, A)
    })
    const device = made.device()
    const seen = () => [IOVA, IOVA + 0x200000].map((at) => (device.get(at) === 0xaan ? 'a' : 'b')).join('')
    expect(seen()).toBe('aa')
    made.store(L1, B)
    made.store(0x24000, B)
    pages(made, 1, IOVA | low, high)
    expect(seen()).toBe(wanted)
  })

  test.each([
    [0, 2],
    [9, 2],
    [0, 3],
    [9, 3],
    [18, 3],
  ])(
    'an invalidation of order %i inside a cached leaf of level %i drops the whole leaf [amdvi.command.pages-size]',
    (order, level) => {
      const made = board((b) => b.store(level === 2 ? L2 + 8 : L3, RW | 1n))
      const device = made.device()
      const reach = level === 2 ? IOVA + PAGE_A : PAGE_A
      expect(device.get(reach)).toBe(0xaan)
      made.store(level === 2 ? L2 + 8 : L3, 0n)
      expect(device.get(reach + 0x3000)).toBe(0n)
      pages(made, order === 0 ? 0 : 1, (IOVA | (order === 0 ? 0x7000 : (2 ** (order - 1) - 1) << 12)) >>> 0)
      expect(device.get(reach)).toBe(-1n)
      expect(device.get(reach + 0x3000)).toBe(-1n)
    },
  )

  test('a page of 64 KiB is kept in pieces: software invalidates all that it covers [amdvi.cache.pieces]', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 16 }, () => 0x107000n | RW | 0xe01n)))
    const device = made.device()
    device.get(IOVA)
    device.get(IOVA + 0x1000)
    made.store(L1, ...Array.from({ length: 16 }, () => 0n))
    pages(made, 0, IOVA)
    expect([device.get(IOVA), device.get(IOVA + 0x1000)]).toEqual([-1n, 0xbbn])
    pages(made, 1, IOVA + 0x7000)
    expect(device.get(IOVA + 0x1000)).toBe(-1n)
  })

  test('the same address in two domains is two translations [amdvi.dte.domain, amdvi.command.pages]', () => {
    const made = board((b) => {
      b.entry(16, 0x40000n | RW | 0x803n, 2n)
      b.store(0x40000, 0x41000n | RW | 0x601n)
      b.store(0x41000, 0x42000n | RW | 0x401n)
      b.store(0x42008, 0x43000n | RW | 0x201n)
      b.store(0x43000, B)
    })
    const [first, second] = [made.device(8), made.device(16)]
    expect([first.get(IOVA), second.get(IOVA), first.get(IOVA)]).toEqual([0xaan, 0xbbn, 0xaan])
    made.store(L1, 0n)
    made.store(0x43000, 0n)
    made.invalidate(1)
    expect([first.get(IOVA), second.get(IOVA)]).toEqual([-1n, 0xbbn])
  })

  test('a right that the cached translation lacks is looked up in memory [amdvi.cache.stale]', () => {
    const made = board((b) => b.store(L1, BigInt(PAGE_A) | 0x2000000000000001n))
    const device = made.device()
    expect([device.get(IOVA), device.put(IOVA, 1n)]).toEqual([0xaan, -1])
    made.store(L1, A)
    expect(device.put(IOVA, 1n)).toBe(2)
    made.store(L1, 0n)
    expect([device.get(IOVA), device.put(IOVA, 2n)]).toEqual([1n, 2])
  })

  test('it is bounded: a set of one way forgets a page for another of its set [amdvi.cache.shape]', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 8 }, () => A)), {
      ...amdviPersonalities.hats6,
      iotlb: { sets: 4, ways: 1 },
    })
    const device = made.device()
    device.get(IOVA)
    made.store(L1, B)
    for (const page of [1, 2, 3]) device.get(IOVA + page * 0x1000)
    expect(device.get(IOVA)).toBe(0xaan)
    device.get(IOVA + 0x4000)
    expect(device.get(IOVA)).toBe(0xbbn)
  })

  test('addresses from 2^60 up are not cached, and alias none that are [amdvi.cache.stale]', () => {
    const top = 0x1000_0000_0020_0000n
    const made = board((b) => {
      b.entry(8, 0x45000n | RW | 0xc03n, 1n)
      // Level 6: index 0 leads to L4 by level 5; index 8 to a page of its own.
      b.store(0x45000, BigInt(L4) | RW | 0x801n)
      b.store(0x45000 + 64, 0x46000n | RW | 0x401n)
      b.store(0x46008, B - 0x101000n)
    })
    const device = made.device()
    expect([device.get(IOVA), device.get(top + 0x101000n)]).toEqual([0xaan, 0xbbn])
    made.store(L1, 0n)
    made.store(0x46008, 0n)
    expect([device.get(IOVA), device.get(top + 0x101000n)]).toEqual([0xaan, -1n])
    pages(made, 0, IOVA, 0x10000000)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})

describe('absent entries (NpCache, B.7)', () => {
  test('are not remembered by a unit without it [amdvi.cache.absent]', () => {
    const made = board((b) => b.store(L1, 0n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.store(L1, A)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('are by a unit with it, until an invalidation of the page; each access is a fault [amdvi.cache.absent]', () => {
    const made = board((b) => b.store(L1, 0n), { ...amdviPersonalities.hats6, npCache: true, cachesAbsent: true })
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.store(L1, A)
    expect([device.get(IOVA), device.put(IOVA, 1n)]).toEqual([-1n, -1])
    expect(made.events()).toEqual([
      '2000000100000008 0000000000200000',
      '2000000100000008 0000000000200000',
      '2020000100000008 0000000000200000',
    ])
    pages(made, 0, IOVA)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})
