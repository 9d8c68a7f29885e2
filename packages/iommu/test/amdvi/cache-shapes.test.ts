import { describe, expect, test } from 'vitest'
import { type AmdviPersonality, amdviPersonalities, type CacheShape } from '../../src/hardware.ts'
import { ContextCache } from '../../src/cache/context-cache.ts'
import { TranslationBank } from '../../src/cache/translation-bank.ts'
import { IOVA, L1, L2, L4, RW } from './board.ts'
import { A, B, board } from './cache-board.ts'
import { Interrupts, upper } from './interrupt-board.ts'

/** Size, associativity and replacement of each cache are settings (facts I). Pages 0, 4, 8 … are of one set of four. */
const { hats6 } = amdviPersonalities
const shaped = (shape: Partial<AmdviPersonality>): AmdviPersonality => ({ ...hats6, ...shape })

/** Accesses pages in `order`, changes the table behind the unit, then `asked`: which of those were still served as before. */
function served(iotlb: CacheShape, order: number[], asked: number[]): boolean[] {
  const made = board((b) => b.store(L1, ...Array.from({ length: 64 }, () => A)), shaped({ iotlb }))
  const device = made.device()
  for (const page of order) device.get(IOVA + page * 0x1000)
  made.store(L1, ...Array.from({ length: 64 }, () => B))
  return asked.map((page) => device.get(IOVA + page * 0x1000) === 0xaan)
}

describe('replacement in a full set [amdvi.cache.replacement, amdvi.cache.shape]', () => {
  test.each(['lru', undefined] as const)('%s: the least recently used one leaves; a hit keeps', (replacement) => {
    const shape = { sets: 4, ways: 2, ...(replacement === undefined ? {} : { replacement }) }
    expect(served(shape, [0, 4, 0, 8], [0, 8, 4])).toEqual([true, true, false])
  })

  test('fifo: the one that came first leaves, hit or not', () => {
    expect(served({ sets: 4, ways: 2, replacement: 'fifo' }, [0, 4, 0, 0, 8], [4, 8, 0])).toEqual([true, true, false])
  })

  test('any: every way leaves some time, the same one in each run', () => {
    const run = () => {
      const bank = new TranslationBank({ sets: 4, ways: 4, replacement: 'random' })
      const gone: number[] = []
      let held = [0, 4, 8, 12]
      for (const page of held) bank.insert(1, page, 0, 3, page)
      for (let page = 16; page < 16 + 40 * 4; page += 4) {
        bank.insert(1, page, 0, 3, page)
        const missing = held.filter((each) => bank.find(1, each, 0, 1) < 0)
        expect(missing).toHaveLength(1)
        gone.push(held.indexOf(missing[0]!))
        held = [...held.filter((each) => each !== missing[0]), page]
      }
      return gone
    }
    const first = run()
    expect(new Set(first)).toEqual(new Set([0, 1, 2, 3]))
    expect(run()).toEqual(first)
  })

  test('entries of devices the same; a place that was made free is taken first', () => {
    for (const [replacement, left] of [
      ['lru', 1],
      ['fifo', 2],
    ] as const) {
      const cache = new ContextCache({ sets: 1, ways: 2, replacement })
      cache.insert(1, 0, 0)
      cache.insert(2, 0, 0)
      expect(cache.find(1) >= 0).toBe(true)
      cache.insert(3, 0, 0)
      expect([1, 2].filter((requester) => cache.find(requester) >= 0)).toEqual([left])
      cache.drop(left, 0xffff, -1)
      cache.insert(4, 7, 9)
      expect([cache.find(3) >= 0, cache.control(cache.find(4)), cache.table(cache.find(4))]).toEqual([true, 7, 9])
    }
  })
})

describe('associativity and size [amdvi.cache.shape]', () => {
  test.each([
    [1, [8]],
    [2, [4, 8]],
    [4, [0, 4, 8]],
  ])('%i ways keep so many pages of a set', (ways, pages) => {
    const made = board((b) => b.store(L1, ...Array.from({ length: 64 }, () => A)), shaped({ iotlb: { sets: 4, ways } }))
    const device = made.device()
    for (const page of [0, 4, 8]) device.get(IOVA + page * 0x1000)
    const { iotlbHit } = made.machine.clock.snapshot()
    for (const page of [8, 4, 0].filter((each) => pages.includes(each))) device.get(IOVA + page * 0x1000)
    expect(made.machine.clock.snapshot().iotlbHit - iotlbHit).toBe(pages.length)
  })

  test('without a cache every access walks', () => {
    const made = board(() => {}, shaped({ iotlb: { sets: 4, ways: 0 }, directories: { sets: 4, ways: 0 } }))
    const device = made.device()
    expect(device.get(IOVA)).toBe(0xaan)
    made.store(L1, B)
    expect(device.get(IOVA)).toBe(0xbbn)
  })

  test('a shape that no cache can have', () => {
    const bad: [Partial<AmdviPersonality>, string][] = [
      [{ iotlb: { sets: 3, ways: 1 } }, 'power of two'],
      [{ iotlb: { sets: 4, ways: 1.5 } }, 'whole number'],
      [{ devices: { sets: 3, ways: 1 } }, 'power of two'],
      [{ devices: { sets: 1, ways: 0 } }, 'positive whole number'],
      [{ interrupts: { sets: 2, ways: 1 } }, 'power of two'],
    ]
    for (const [shape, text] of bad) expect(() => board(() => {}, shaped(shape))).toThrow(text)
  })

  test('interrupt entries have theirs', () => {
    const made = new Interrupts(upper(2n), { personality: shaped({ interrupts: { sets: 4, ways: 2 } }) })
    for (const index of [1, 5, 9]) made.entry(index, 0x00910001)
    for (const index of [1, 5, 9]) made.device.message(index)
    for (const index of [1, 5, 9]) made.entry(index, 0x00920001)
    made.received()
    for (const index of [9, 5, 1]) made.device.message(index)
    expect(made.received()).toEqual([0x91, 0x91, 0x92])
  })
})

describe('pieces [amdvi.cache.pieces]', () => {
  const large = (level: number, shape: Partial<AmdviPersonality>) => {
    const made = board(
      (b) => (level === 2 ? b.store(L2 + 8, RW | 1n) : b.store(L4, 0x0000000000200000n | RW | 1n)),
      shaped(shape),
    )
    const device = made.device()
    for (let page = 0; page < 4; page++) device.read(IOVA + page * 0x1000, 8)
    const { iotlbMiss, iotlbHit } = made.machine.clock.snapshot()
    return [iotlbMiss, iotlbHit]
  }
  const none = { sets: 4, ways: 0 }

  test('a 2 MiB page in a unit without a cache for them is kept page by page', () => {
    expect([large(2, {}), large(2, { iotlb2M: none })]).toEqual([
      [1, 3],
      [4, 0],
    ])
  })

  test('a larger page without a cache for 1 GiB is kept in pieces of 2 MiB, without that too page by page', () => {
    expect([large(4, {}), large(4, { iotlb1G: none }), large(4, { iotlb1G: none, iotlb2M: none })]).toEqual([
      [1, 3],
      [1, 3],
      [4, 0],
    ])
  })
})
