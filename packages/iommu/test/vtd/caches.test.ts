import { describe, expect, test } from 'vitest'
import { type VtdPersonality, vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, L2, L3, L4, PAGE_A, PAGE_B } from './board.ts'

/** Caches go stale until they are invalidated, and an invalidation reaches what it names (facts A.5, E; QEMU's behaviour as measured). */
const PAGE_2M = { index: 16, iova: IOVA }

function board(change: (b: Board) => void = () => {}, personality: VtdPersonality = vtdPersonalities.qemu48): Board {
  const made = new Board({ personality })
  made.ordinary()
  change(made)
  made.store(PAGE_A, 0xaan)
  made.store(PAGE_B, 0xbbn)
  made.turnOn()
  made.queueOn()
  return made
}

const iotlb = { global: 0x12n, domain: (id: bigint) => 0x22n | (id << 16n), page: (id: bigint) => 0x32n | (id << 16n) }
const contexts = {
  global: 0x11n,
  domain: (id: bigint) => 0x21n | (id << 16n),
  device: (id: bigint, source: bigint, mask = 0n) => 0x31n | (id << 16n) | (source << 32n) | (mask << 48n),
}

describe('translations (IOTLB) [vtd.cache.stale]', () => {
  test.each([
    ['global', iotlb.global, 0n],
    ['domain', iotlb.domain(1n), 0n],
    ['page', iotlb.page(1n), BigInt(IOVA)],
  ])('a cleared entry is used until a %s invalidation [vtd.invalidate.granularity]', (_name, low, high) => {
    const made = board()
    const device = made.device()
    expect(device.get(IOVA)).toBe(0xaan)
    made.store(L1, 0n)
    expect(device.get(IOVA)).toBe(0xaan)
    expect(device.put(IOVA, 0xccn)).toBe(2)
    made.invalidate(low, high)
    expect(device.get(IOVA)).toBe(-1n)
    expect(made.faults()).toMatchObject([{ reason: 6 }])
    expect(made.load(PAGE_A)).toBe(0xccn)
  })

  test.each([
    ['domain', iotlb.domain(2n), 0n],
    ['page', iotlb.page(2n), BigInt(IOVA)],
  ])('a %s invalidation of another domain changes nothing [vtd.invalidate.other-domain]', (_name, low, high) => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    made.invalidate(low, high)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('a page-selective one of another page changes nothing; AM = 1 drops exactly two pages [vtd.invalidate.page.order]', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 4 }, () => BigInt(PAGE_A) | 3n)))
    const device = made.device()
    for (let page = 0; page < 4; page++) device.get(IOVA + page * 0x1000)
    made.store(L1, ...Array.from({ length: 4 }, () => BigInt(PAGE_B) | 3n))
    made.invalidate(iotlb.page(1n), BigInt(IOVA + 0x4000))
    const seen = () => [0, 1, 2, 3].map((page) => device.get(IOVA + page * 0x1000))
    expect(seen()).toEqual([0xaan, 0xaan, 0xaan, 0xaan])
    // The address is taken naturally aligned: 0x203000 with AM = 1 is 0x202000 and 0x203000.
    made.invalidate(iotlb.page(1n), BigInt(IOVA + 0x3000) | 1n)
    expect(seen()).toEqual([0xaan, 0xaan, 0xbbn, 0xbbn])
    made.invalidate(iotlb.page(1n), BigInt(IOVA) | 8n)
    expect(seen()).toEqual([0xbbn, 0xbbn, 0xbbn, 0xbbn])
  })

  test.each([
    [0, 2],
    [9, 2],
    [18, 2],
    [0, 3],
    [9, 3],
    [18, 3],
  ])(
    'a page-selective one of order %i inside a cached leaf of level %i drops the whole leaf [vtd.invalidate.page.large]',
    (order, level) => {
      const made = board((b) => (level === 2 ? b.store(L2 + 8, 0x83n) : b.store(L3, 0x83n)))
      const device = made.device()
      const reach = level === 2 ? IOVA + PAGE_A : PAGE_A
      expect(device.get(reach)).toBe(0xaan)
      made.store(level === 2 ? L2 + 8 : L3, 0n)
      expect(device.get(reach + 0x3000)).toBe(0n)
      made.invalidate(iotlb.page(1n), BigInt(IOVA + 0x7000) | BigInt(order))
      expect(device.get(reach)).toBe(-1n)
      expect(device.get(reach + 0x3000)).toBe(-1n)
    },
  )

  test('the same address in two domains is two translations [vtd.cache.tag]', () => {
    const made = board((b) => {
      // Function 16 in domain 2 with tables of its own.
      b.store(CONTEXT + 16 * 16, 0x40000n | 1n, 0x202n)
      b.store(0x40000, 0x41003n)
      b.store(0x41000, 0x42003n)
      b.store(0x42000 + 8, 0x43003n)
      b.store(0x43000, BigInt(PAGE_B) | 3n)
    })
    const [first, second] = [made.device(8), made.device(16)]
    expect([first.get(IOVA), second.get(IOVA), first.get(IOVA)]).toEqual([0xaan, 0xbbn, 0xaan])
    made.store(L1, 0n)
    made.store(0x43000, 0n)
    made.invalidate(iotlb.domain(1n))
    expect([first.get(IOVA), second.get(IOVA)]).toEqual([-1n, 0xbbn])
  })

  test('two functions in one domain share translations', () => {
    const made = board((b) => b.store(CONTEXT + 16 * 16, BigInt(L4) | 1n, 0x102n))
    const [first, second] = [made.device(8), made.device(16)]
    first.get(IOVA)
    made.store(L1, 0n)
    expect(second.get(IOVA)).toBe(0xaan)
  })

  test('an absent entry is not remembered: CM = 0 [vtd.cache.cm-0]', () => {
    const made = board((b) => b.store(L1, 0n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.store(L1, BigInt(PAGE_A) | 3n)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('a right that the cached translation lacks is looked up in memory, and a refusal is recorded (QEMU does neither) [vtd.cache.rights]', () => {
    const made = board((b) => b.store(L1, BigInt(PAGE_A) | 1n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(0xaan)
    expect(device.put(IOVA, 1n)).toBe(-1)
    expect(made.faults()).toMatchObject([{ reason: 5 }])
    made.store(L1, BigInt(PAGE_A) | 3n)
    expect(device.put(IOVA, 1n)).toBe(2)
    // The wider translation took the place of the narrow one.
    made.store(L1, 0n)
    expect([device.get(IOVA), device.put(IOVA, 2n)]).toEqual([1n, 2])
    made.invalidate(iotlb.page(1n), BigInt(IOVA))
    expect(device.get(IOVA)).toBe(-1n)
  })

  test('it is bounded: a set of one way forgets a page for another of its set [vtd.cache.bounded]', () => {
    const shape = { sets: 4, ways: 1 }
    const made = board((b) => b.store(L1, ...Array.from({ length: 8 }, () => BigInt(PAGE_A) | 3n)), {
      ...vtdPersonalities.qemu48,
      iotlb: shape,
    })
    const device = made.device()
    device.get(IOVA)
    made.store(L1, BigInt(PAGE_B) | 3n)
    for (const page of [1, 2, 3]) device.get(IOVA + page * 0x1000)
    expect(device.get(IOVA)).toBe(0xaan)
    device.get(IOVA + 0x4000)
    expect(device.get(IOVA)).toBe(0xbbn)
  })

  test('a set of two ways forgets the page that was used longest ago [vtd.cache.bounded]', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 12 }, () => BigInt(PAGE_A) | 3n)), {
      ...vtdPersonalities.qemu48,
      iotlb: { sets: 4, ways: 2 },
    })
    const device = made.device()
    const get = (page: number) => device.get(IOVA + page * 0x1000)
    get(0)
    get(4)
    get(0)
    made.store(L1, ...Array.from({ length: 12 }, () => BigInt(PAGE_B) | 3n))
    expect(get(8)).toBe(0xbbn)
    expect([get(0), get(8)]).toEqual([0xaan, 0xbbn])
    expect(get(4)).toBe(0xbbn)
  })
})

describe('directories (paging-structure cache) [vtd.cache.directory]', () => {
  test('a replaced directory entry is used until an invalidation without the leaf-only hint (IH) [vtd.invalidate.hint]', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    // The level-2 entry now leads to a table that maps to the other page.
    made.store(0x43000, BigInt(PAGE_B) | 3n)
    made.store(L2 + 8, 0x43003n)
    made.invalidate(iotlb.page(1n), BigInt(IOVA) | 0x40n)
    expect(device.get(IOVA)).toBe(0xaan)
    made.invalidate(iotlb.page(1n), BigInt(IOVA))
    expect(device.get(IOVA)).toBe(0xbbn)
  })

  test('a domain invalidation drops directories, and another domain’s keeps them', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(0x43000, BigInt(PAGE_B) | 3n)
    made.store(L2 + 8, 0x43003n)
    made.invalidate(iotlb.domain(2n))
    made.invalidate(iotlb.page(1n), BigInt(IOVA) | 0x40n)
    expect(device.get(IOVA)).toBe(0xaan)
    made.invalidate(iotlb.domain(1n))
    expect(device.get(IOVA)).toBe(0xbbn)
  })

  test('faults found below a cached directory are those of the walk: C, 6 and 7', () => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 3 }, () => BigInt(PAGE_A) | 3n)))
    const device = made.device()
    device.get(IOVA)
    made.store(L1 + 8, 0x4000000000000003n, 0n)
    expect([device.get(IOVA + 0x1000), device.get(IOVA + 0x2000)]).toEqual([-1n, -1n])
    expect(made.faults()).toMatchObject([{ reason: 0xc }])
  })
})

describe('context entries', () => {
  test.each([
    ['global', contexts.global],
    ['domain', contexts.domain(1n)],
    ['device', contexts.device(1n, 8n)],
    ['device, function bits 2:0 ignored', contexts.device(1n, 15n, 3n)],
    ['device, function bits 2:1 ignored', contexts.device(1n, 14n, 2n)],
    ['device, function bit 2 ignored', contexts.device(1n, 12n, 1n)],
  ])(
    'a cleared entry is used until a %s invalidation [vtd.invalidate.function-mask, vtd.invalidate.granularity]',
    (_name, low) => {
      const made = board()
      const device = made.device()
      device.get(IOVA)
      made.store(CONTEXT + 8 * 16, 0n, 0n)
      expect(device.get(IOVA)).toBe(0xaan)
      made.invalidate(low)
      expect(device.get(IOVA)).toBe(-1n)
      expect(made.faults()).toMatchObject([{ reason: 2 }])
    },
  )

  test.each([
    ['another domain', contexts.domain(2n)],
    ['another function', contexts.device(1n, 16n)],
    ['this function under another domain', contexts.device(2n, 8n)],
    ['functions that differ in a bit that is not ignored', contexts.device(1n, 12n, 0n)],
    ['functions that differ in bit 0 when 2:1 are ignored', contexts.device(1n, 15n, 2n)],
  ])('an invalidation of %s changes nothing [vtd.invalidate.other-domain]', (_name, low) => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(CONTEXT + 8 * 16, 0n, 0n)
    made.invalidate(low)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('after a context invalidation alone, cached pages of the domain are still served to a new entry of it [vtd.cache.context-alone]', () => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    // The same domain with an empty table.
    made.store(CONTEXT + 8 * 16, 0x44001n, 0x102n)
    made.invalidate(contexts.device(1n, 8n))
    expect(device.get(IOVA)).toBe(0xaan)
    made.invalidate(iotlb.domain(1n))
    expect(device.get(IOVA)).toBe(-1n)
  })

  test('it is bounded: other functions push an entry out [vtd.cache.bounded]', () => {
    const made = board((b) => b.store(CONTEXT + 16 * 16, BigInt(L4) | 1n, 0x102n), {
      ...vtdPersonalities.qemu48,
      contexts: { sets: 1, ways: 1 },
    })
    const device = made.device()
    device.get(IOVA)
    made.store(CONTEXT + 8 * 16, 0n, 0n)
    expect(device.get(IOVA)).toBe(0xaan)
    made.device(16).get(IOVA)
    expect(device.get(IOVA)).toBe(-1n)
  })

  test('of two ways the one used longest ago goes', () => {
    const made = board((b) => [16, 24].forEach((devfn) => b.store(CONTEXT + devfn * 16, BigInt(L4) | 1n, 0x102n)), {
      ...vtdPersonalities.qemu48,
      contexts: { sets: 1, ways: 2 },
    })
    const [first, second, third] = [made.device(8), made.device(16), made.device(24)]
    first.get(IOVA)
    second.get(IOVA)
    first.get(IOVA)
    third.get(IOVA)
    ;[8, 16].forEach((devfn) => made.store(CONTEXT + devfn * 16, 0n, 0n))
    expect([first.get(IOVA), second.get(IOVA)]).toEqual([0xaan, -1n])
  })

  test('an absent entry is not remembered: CM = 0 [vtd.cache.cm-0]', () => {
    const made = board((b) => b.store(CONTEXT + 8 * 16, 0n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.store(CONTEXT + 8 * 16, BigInt(L4) | 1n)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})

test('counters tell hits, misses, table reads, invalidations and faults', () => {
  const made = board()
  const device = made.device()
  const before = made.machine.clock.snapshot()
  device.get(IOVA)
  device.get(IOVA + 8)
  device.get(IOVA + 0x1000)
  made.invalidate(iotlb.global)
  const after = made.machine.clock.snapshot()
  const grown = (name: keyof typeof after) => after[name] - before[name]
  expect(grown('contextMiss')).toBe(1)
  expect(grown('iotlbMiss')).toBe(2)
  expect(grown('iotlbHit')).toBe(1)
  // Root, context and four levels; then one entry below the cached directory.
  expect(grown('walkRead')).toBe(7)
  expect(grown('dmaFault')).toBe(1)
  expect(grown('invalidation')).toBe(1)
})

test('a 2 MiB page serves all its 4 KiB pages after one walk', () => {
  const made = board((b) => b.store(L2 + 8, 0x83n))
  const device = made.device()
  for (let page = 0; page < PAGE_2M.index; page++) device.get(PAGE_2M.iova + page * 0x1000)
  const { iotlbMiss, iotlbHit } = made.machine.clock.snapshot()
  expect([iotlbMiss, iotlbHit]).toEqual([1, PAGE_2M.index - 1])
})

test.each([
  ['lru', [0xaan, 0xbbn]],
  ['fifo', [0xbbn, 0xaan]],
] as const)('replacement %s: of two ways, the first used again or not [vtd.cache.bounded]', (replacement, wanted) => {
  const made = board((b) => b.store(L1, ...Array.from({ length: 12 }, () => BigInt(PAGE_A) | 3n)), {
    ...vtdPersonalities.qemu48,
    iotlb: { sets: 4, ways: 2, replacement },
  })
  const device = made.device()
  const get = (page: number) => device.get(IOVA + page * 0x1000)
  get(0)
  get(4)
  get(0)
  get(8)
  made.store(L1, ...Array.from({ length: 12 }, () => BigInt(PAGE_B) | 3n))
  // Each look at what is gone brings it back and another one out: one at a time.
  if (replacement === 'lru') expect([get(0), get(4)]).toEqual(wanted)
  else expect([get(0), get(8)]).toEqual(wanted)
})

test('random replacement: of twelve pages through four ways not just the latest four stay, the same ones in every run [vtd.cache.bounded]', () => {
  const pages = Array.from({ length: 12 }, (_, i) => 4 * i)
  const survives = (page: number) => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 48 }, () => BigInt(PAGE_A) | 3n)), {
      ...vtdPersonalities.qemu48,
      iotlb: { sets: 4, ways: 4, replacement: 'random' },
    })
    const device = made.device()
    for (const each of pages) device.get(IOVA + each * 0x1000)
    made.store(L1 + page * 8, BigInt(PAGE_B) | 3n)
    return device.get(IOVA + page * 0x1000) === 0xaan
  }
  const left = pages.filter((page) => survives(page))
  expect(left).toHaveLength(4)
  expect(left).toContain(44)
  expect(left).not.toEqual([32, 36, 40, 44])
  expect(pages.filter((page) => survives(page))).toEqual(left)
})

test('a large page beyond 2^43, and one that no RAM has, are no RAM from the cache too', () => {
  const made = board((b) => {
    b.store(L2 + 8, (1n << 44n) | 0x83n)
    b.store(L3 + 8, (1n << 45n) | 0x83n)
  })
  const device = made.device()
  expect([device.get(IOVA), device.get(IOVA), device.get(2 ** 30), device.get(2 ** 30)]).toEqual([-2n, -2n, -2n, -2n])
  expect(made.faults()).toEqual([])
})
