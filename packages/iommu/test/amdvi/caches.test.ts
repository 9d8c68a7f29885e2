import { describe, expect, test } from 'vitest'
import { type AmdviPersonality, amdviPersonalities } from '../../src/hardware.ts'
import { Board, IOVA, L1, L2, L3, L4, PAGE_A, PAGE_B, RW } from './board.ts'

/** Caches go stale until they are invalidated, and an invalidation reaches what it names (facts B.5, B.7). */

function board(change: (b: Board) => void = () => {}, personality: AmdviPersonality = amdviPersonalities.hats6): Board {
  const made = new Board({ personality })
  made.ordinary()
  change(made)
  made.store(PAGE_A, 0xaan)
  made.store(PAGE_B, 0xbbn)
  made.turnOn()
  return made
}

const A = BigInt(PAGE_A) | RW | 1n
const B = BigInt(PAGE_B) | RW | 1n
const pages = (made: Board, flags: number, low: number, high = 0, domain = 1) => made.command(0, 0x30000000 | domain, low | flags, high)

describe('translations (IOTLB)', () => {
  test.each([
    ['all pages', (made: Board) => pages(made, 1, 0xfffff000, 0x7fffffff)],
    ['all pages and directories', (made: Board) => pages(made, 3, 0xfffff000, 0x7fffffff)],
    ['the page', (made: Board) => pages(made, 0, IOVA)],
    ['8 KiB: bit 12 is 0', (made: Board) => pages(made, 1, IOVA)],
    ['16 KiB: 01', (made: Board) => pages(made, 1, IOVA | 0x1000)],
    ['everything: INVALIDATE_IOMMU_ALL', (made: Board) => made.command(0, 0x80000000)],
  ])('a cleared entry is used until an invalidation of %s', (_name, invalidate) => {
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
  })

  test('matching is by domain, not by device', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    pages(made, 3, 0xfffff000, 0x7fffffff, 2)
    pages(made, 0, IOVA, 0, 0x101)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('a device invalidation alone leaves translations of its domain', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    made.invalidateDevice()
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('sizes: 2^(first zero from 12 up + 1), naturally aligned', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 16 }, () => A)))
    const device = made.device()
    const seen = () => Array.from({ length: 16 }, (_, page) => (device.get(IOVA + page * 0x1000) === 0xaan ? 'a' : 'b')).join('')
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
  ])('%s around the first page', (_name, low, high, wanted) => {
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
  ])('an invalidation of order %i inside a cached leaf of level %i drops the whole leaf', (order, level) => {
    const made = board((b) => b.store(level === 2 ? L2 + 8 : L3, RW | 1n))
    const device = made.device()
    const reach = level === 2 ? IOVA + PAGE_A : PAGE_A
    expect(device.get(reach)).toBe(0xaan)
    made.store(level === 2 ? L2 + 8 : L3, 0n)
    expect(device.get(reach + 0x3000)).toBe(0n)
    pages(made, order === 0 ? 0 : 1, (IOVA | (order === 0 ? 0x7000 : (2 ** (order - 1) - 1) << 12)) >>> 0)
    expect(device.get(reach)).toBe(-1n)
    expect(device.get(reach + 0x3000)).toBe(-1n)
  })

  test('a page of 64 KiB is kept in pieces: software invalidates all that it covers', () => {
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

  test('the same address in two domains is two translations', () => {
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

  test('a right that the cached translation lacks is looked up in memory', () => {
    const made = board((b) => b.store(L1, BigInt(PAGE_A) | 0x2000000000000001n))
    const device = made.device()
    expect([device.get(IOVA), device.put(IOVA, 1n)]).toEqual([0xaan, -1])
    made.store(L1, A)
    expect(device.put(IOVA, 1n)).toBe(2)
    made.store(L1, 0n)
    expect([device.get(IOVA), device.put(IOVA, 2n)]).toEqual([1n, 2])
  })

  test('it is bounded: a set of one way forgets a page for another of its set', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 8 }, () => A)), { ...amdviPersonalities.hats6, iotlb: { sets: 4, ways: 1 } })
    const device = made.device()
    device.get(IOVA)
    made.store(L1, B)
    for (const page of [1, 2, 3]) device.get(IOVA + page * 0x1000)
    expect(device.get(IOVA)).toBe(0xaan)
    device.get(IOVA + 0x4000)
    expect(device.get(IOVA)).toBe(0xbbn)
  })

  test('addresses from 2^60 up are not cached, and alias none that are', () => {
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
  test('are not remembered by a unit without it', () => {
    const made = board((b) => b.store(L1, 0n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.store(L1, A)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('are by a unit with it, until an invalidation of the page; each access is a fault', () => {
    const made = board((b) => b.store(L1, 0n), { ...amdviPersonalities.hats6, npCache: true, cachesAbsent: true })
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.store(L1, A)
    expect([device.get(IOVA), device.put(IOVA, 1n)]).toEqual([-1n, -1])
    expect(made.events()).toEqual(['2000000100000008 0000000000200000', '2000000100000008 0000000000200000', '2020000100000008 0000000000200000'])
    pages(made, 0, IOVA)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})

describe('directories', () => {
  const replaced = () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    // The level-2 entry now leads to a table that maps to the other page.
    made.store(0x43000, B, B)
    made.store(L2 + 8, 0x43000n | RW | 0x201n)
    return { made, device }
  }

  test('a replaced entry is used until an invalidation with PDE', () => {
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
  ])('PDE with %s', (_name, flags, low) => {
    const { made, device } = replaced()
    pages(made, 0, IOVA)
    pages(made, flags, low)
    expect(device.get(IOVA + 0x1000)).toBe(0xbbn)
  })

  test('PDE elsewhere, or in another domain, changes nothing', () => {
    const { made, device } = replaced()
    pages(made, 0, IOVA)
    pages(made, 2, IOVA + 0x200000)
    pages(made, 2, IOVA, 0, 2)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})

describe('device table entries', () => {
  test('a changed entry is used until INVALIDATE_DEVTAB_ENTRY of it', () => {
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

  test('also one that lets everything pass', () => {
    const made = board((b) => b.entry(8, 0n))
    const device = made.device()
    expect(device.get(PAGE_A)).toBe(0xaan)
    made.entry(8, 3n)
    expect(device.get(PAGE_A)).toBe(0xaan)
    made.invalidateDevice()
    expect(device.get(PAGE_A)).toBe(-1n)
  })

  test('rights of a cached entry are checked each time', () => {
    const made = board((b) => b.entry(8, 0x2000000000000003n))
    const device = made.device()
    expect([device.read(PAGE_A, 8), device.put(PAGE_A, 1n), device.put(PAGE_A, 1n)]).toEqual([1, -1, -1])
    expect(made.events()).toHaveLength(2)
  })

  test('an entry that faults is not remembered', () => {
    const made = board((b) => b.entry(8, 3n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.ordinary()
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('it is bounded: other functions push an entry out', () => {
    const made = board((b) => b.entry(16, BigInt(L4) | RW | 0x803n, 1n), { ...amdviPersonalities.hats6, devices: { sets: 1, ways: 1 } })
    const device = made.device()
    device.get(IOVA)
    made.entry(8, 3n)
    expect(device.get(IOVA)).toBe(0xaan)
    made.device(16).get(IOVA)
    expect(device.get(IOVA)).toBe(-1n)
  })
})

test('counters tell hits, misses, table reads, invalidations and faults', () => {
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

test('a 2 MiB page serves all its 4 KiB pages after one walk', () => {
  const made = board((b) => b.store(L2 + 8, RW | 1n))
  const device = made.device()
  for (let page = 0; page < 16; page++) device.get(IOVA + page * 0x1000)
  const { iotlbMiss, iotlbHit } = made.machine.clock.snapshot()
  expect([iotlbMiss, iotlbHit]).toEqual([1, 15])
})
