import { describe, expect, test } from 'vitest'
import { gartPersonalities } from '../../src/hardware.ts'
import { fc, runs } from '../property.ts'
import {
  APERTURE,
  BASE,
  Board,
  type BoardOptions,
  CACHE,
  CONTROL,
  EMPTIED,
  LANDED,
  PAGE_A,
  PAGE_B,
  TABLE_BASE,
  TO_A,
  TO_B,
} from './board.ts'

function board(options?: BoardOptions): Board {
  const made = new Board(options)
  made.entry(0, TO_A)
  made.turnOn()
  return made
}

describe('the TLB goes stale [gart.cache.stale]', () => {
  test('an entry that changed, and one that went, until InvGart', () => {
    const made = board()
    const device = made.device()
    device.put(APERTURE, 1n)
    made.entry(0, TO_B)
    device.put(APERTURE, 2n)
    made.entry(0, 0)
    device.put(APERTURE, 3n)
    expect([made.load(PAGE_A), made.load(PAGE_B)]).toEqual([3n, 0n])
    made.invalidate()
    expect([device.put(APERTURE, 4n), made.load(PAGE_A)]).toEqual([-1, 3n])
  })

  test('another table, another base: what was translated stays', () => {
    const made = board()
    const device = made.device()
    device.put(APERTURE, 1n)
    made.write(TABLE_BASE, 0x4000)
    expect(device.put(APERTURE, 2n)).toBe(2)
    // The aperture moves away: its old address is outside. It comes back, and so does what the TLB has.
    made.write(BASE, 0x61)
    expect(device.put(APERTURE, 3n)).toBe(-2)
    made.write(BASE, 0x60)
    expect([device.put(APERTURE, 4n), made.load(PAGE_A)]).toEqual([2, 4n])
    made.invalidate()
    expect(device.put(APERTURE, 5n)).toBe(-1)
  })

  test('switching off and on is no invalidation', () => {
    const made = board()
    const device = made.device()
    device.put(APERTURE, 1n)
    made.entry(0, 0)
    made.write(CONTROL, 0)
    made.write(CONTROL, 1)
    expect(device.put(APERTURE, 2n)).toBe(2)
  })

  test('the detector tells of each access, with the frame that was used', () => {
    const made = board()
    made.entry(2, 0xe0000003)
    const device = made.device(0x10)
    device.put(APERTURE, 1n)
    device.get(APERTURE + 0x2000)
    const hits = made.staleHits()
    device.put(APERTURE, 2n)
    expect([hits, made.gart.onStaleHit !== null]).toEqual([[], true])
    const reads = made.count('walkRead')
    made.entry(0, TO_B)
    made.entry(2, TO_B)
    device.put(APERTURE + 8, 3n)
    device.get(APERTURE + 0x10)
    device.get(APERTURE + 0x2000)
    expect(hits).toEqual([
      { requester: 0x10, hi: 0, lo: (APERTURE + 8) | 0, write: true, mfn: 0x200 },
      { requester: 0x10, hi: 0, lo: (APERTURE + 0x10) | 0, write: false, mfn: 0x200 },
      { requester: 0x10, hi: 0, lo: (APERTURE + 0x2000) | 0, write: false, mfn: -1 },
    ])
    // It disturbs nothing: no read counted, no error noted even where the entry is gone.
    made.entry(0, 0)
    device.get(APERTURE)
    expect([hits.length, made.count('walkRead') - reads, made.read(CACHE)]).toEqual([4, 0, 0])
    made.invalidate()
    device.get(APERTURE + 0x2000)
    made.gart.onStaleHit = null
    made.entry(2, 0)
    device.get(APERTURE + 0x2000)
    expect(hits.length).toBe(4)
  })
})

describe('InvGart', () => {
  test('reads 1 until everything is forgotten, which is late [gart.cache.invalidate]', () => {
    const made = board()
    const device = made.device()
    device.put(APERTURE, 1n)
    made.entry(0, TO_B)
    const { machine } = made
    machine.pci.at(0xc3)!.configWrite(CACHE, 4, 1)
    const reads = () => machine.pci.at(0xc3)!.config.read(CACHE, 4)
    expect([reads(), device.put(APERTURE, 2n), made.load(PAGE_A)]).toEqual([1, 2, 2n])
    made.elapse(EMPTIED - 40)
    expect([reads(), device.put(APERTURE, 3n), made.load(PAGE_A)]).toEqual([1, 2, 3n])
    made.elapse(40)
    expect([reads(), device.put(APERTURE, 4n), made.load(PAGE_B)]).toEqual([1, 2, 4n])
    made.elapse(LANDED - 40)
    expect(reads()).toBe(1)
    made.elapse(40)
    expect(reads()).toBe(0)
    expect(made.count('invalidation')).toBe(1)
  })

  test('written 0 it does nothing, nor does it stop one', () => {
    const made = board()
    const device = made.device()
    device.put(APERTURE, 1n)
    made.entry(0, 0)
    made.write(CACHE, 0)
    made.elapse(5000)
    expect(device.put(APERTURE, 2n)).toBe(2)
    made.machine.pci.at(0xc3)!.configWrite(CACHE, 4, 1)
    made.machine.pci.at(0xc3)!.configWrite(CACHE, 4, 0)
    expect(made.machine.pci.at(0xc3)!.config.read(CACHE, 4)).toBe(1)
    made.elapse(EMPTIED)
    expect(device.put(APERTURE, 3n)).toBe(-1)
  })

  test('written again while it works it starts again [gart.cache.invalidate-again]', () => {
    const made = board()
    made.entry(1, TO_B)
    const node = made.machine.pci.at(0xc3)!
    const device = made.device()
    node.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    // Emptied, not complete yet: this is translated anew, and then goes.
    device.put(APERTURE, 1n)
    made.entry(0, 0)
    node.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    expect([node.config.read(CACHE, 4), device.put(APERTURE, 2n)]).toEqual([1, -1])
    made.elapse(LANDED - 40)
    expect(node.config.read(CACHE, 4)).toBe(3)
    made.elapse(40)
    expect(node.config.read(CACHE, 4)).toBe(2)
  })
})

test('InvGart written again just before it is done does not read 0 while the TLB is full [gart.cache.invalidate-again]', () => {
  const made = board()
  const node = made.machine.pci.at(0xc3)!
  const device = made.device()
  node.configWrite(CACHE, 4, 1)
  made.elapse(EMPTIED)
  device.put(APERTURE, 1n)
  made.elapse(LANDED - 40)
  node.configWrite(CACHE, 4, 1)
  made.elapse(80)
  expect(node.config.read(CACHE, 4)).toBe(1)
})

describe('writes on their way [gart.cache.posted]', () => {
  test('land over the data of the frame’s next owner when nobody waited for InvGart', () => {
    const made = board()
    made.device().put(APERTURE + 8, 0xbadn)
    made.entry(0, 0)
    made.machine.pci.at(0xc3)!.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(LANDED)
    expect(made.load(PAGE_A + 8)).toBe(0xbadn)
  })

  test('have landed when it reads 0', () => {
    const made = board()
    made.device().put(APERTURE + 8, 0xbadn)
    made.entry(0, 0)
    made.invalidate()
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(10 * LANDED)
    expect(made.load(PAGE_A + 8)).toBe(0x600dn)
  })

  test('a page that keeps its entry keeps what CPUs did to it since', () => {
    const made = board()
    made.entry(1, TO_B)
    const device = made.device()
    device.put(APERTURE + 8, 1n)
    device.put(APERTURE + 0x1008, 1n)
    made.entry(1, 0)
    made.machine.pci.at(0xc3)!.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    for (const page of [PAGE_A, PAGE_B]) made.store(page + 8, 2n)
    made.store(PAGE_B + 16, 3n)
    made.elapse(LANDED)
    expect([made.load(PAGE_A + 8), made.load(PAGE_B + 8), made.load(PAGE_B + 16)]).toEqual([2n, 1n, 3n])
  })

  test('time alone lands them; each lands late once', () => {
    const made = board()
    const node = made.machine.pci.at(0xc3)!
    const device = made.device()
    device.put(APERTURE + 8, 0xbadn)
    made.elapse(LANDED)
    made.entry(0, 0)
    node.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(LANDED)
    expect(made.load(PAGE_A + 8)).toBe(0x600dn)

    made.entry(0, TO_A)
    made.invalidate()
    device.put(APERTURE + 8, 0xbadn)
    made.entry(0, 0)
    node.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    node.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED + LANDED)
    expect(made.load(PAGE_A + 8)).toBe(0xbadn)
  })

  test('only the latest are remembered, as many as the buffer has', () => {
    const made = board()
    const device = made.device()
    for (let i = 0; i < 40; i++) device.put(APERTURE + 8 * i, 0xbadn)
    made.entry(0, 0)
    made.machine.pci.at(0xc3)!.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    for (let i = 0; i < 40; i++) made.store(PAGE_A + 8 * i, 0x600dn)
    made.elapse(LANDED)
    const late = Array.from({ length: 40 }, (_, i) => made.load(PAGE_A + 8 * i)).filter((value) => value === 0xbadn)
    expect([late.length, made.load(PAGE_A), made.load(PAGE_A + 39 * 8)]).toEqual([16, 0x600dn, 0xbadn])
  })

  test('those of a page that left the aperture land late too', () => {
    const made = board()
    made.device().put(APERTURE + 8, 0xbadn)
    made.write(BASE, 0x61)
    made.machine.pci.at(0xc3)!.configWrite(CACHE, 4, 1)
    made.elapse(EMPTIED)
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(LANDED)
    // The configuration write took longer than the write to memory.
    expect(made.load(PAGE_A + 8)).toBe(0x600dn)
    const other = board()
    // An entry where page 0 would have one, were the table longer on that side.
    other.store32(0x10_0000 - 8192 * 4, TO_A)
    other.device().put(APERTURE + 8, 0xbadn)
    other.machine.pci.at(0xc3)!.configWrite(BASE, 4, 0x61)
    other.machine.pci.at(0xc3)!.configWrite(CACHE, 4, 1)
    other.elapse(EMPTIED)
    other.store(PAGE_A + 8, 0x600dn)
    other.elapse(LANDED)
    expect(other.load(PAGE_A + 8)).toBe(0xbadn)
  })
})

describe('size, associativity, replacement are settings [gart.cache.bounded]', () => {
  const shaped = (sets: number, ways: number, replacement?: 'lru' | 'fifo' | 'random') => {
    const personality = {
      ...gartPersonalities.k8,
      tlb: { sets, ways, ...(replacement === undefined ? {} : { replacement }) },
    }
    const made = new Board({ personality })
    for (let page = 0; page < 64; page++) made.entry(page, TO_A)
    made.turnOn()
    const device = made.device()
    /** Whether each of `pages`, accessed in turn, was in the TLB. */
    const hits = (...pages: number[]) =>
      pages.map((page) => {
        const before = made.count('iotlbHit')
        device.read(APERTURE + page * 4096, 8)
        return made.count('iotlbHit') - before
      })
    return { made, hits }
  }

  test('least recently used: a hit keeps a page', () => {
    const { hits } = shaped(2, 2)
    expect(hits(0, 2, 0, 4, 0, 2)).toEqual([0, 0, 1, 0, 1, 0])
    expect(hits(1, 3, 1, 3)).toEqual([0, 0, 1, 1])
  })

  test('first in, first out: it does not', () => {
    const { hits } = shaped(2, 2, 'fifo')
    expect(hits(0, 2, 0, 4, 2, 0)).toEqual([0, 0, 1, 0, 1, 0])
  })

  test('random: any, the same in every run', () => {
    const sequence = Array.from({ length: 200 }, (_, i) => (i * 7) % 6)
    const first = shaped(1, 4, 'random').hits(...sequence)
    expect(shaped(1, 4, 'random').hits(...sequence)).toEqual(first)
    const inOrder = shaped(1, 4, 'fifo').hits(...sequence)
    expect(first).not.toEqual(inOrder)
    expect(first.filter((hit) => hit === 1).length).toBeGreaterThan(20)
  })

  test('no ways: nothing is kept', () => {
    const { hits } = shaped(1, 0)
    expect(hits(0, 0, 0)).toEqual([0, 0, 0])
  })

  test('a free way is taken before a page is given up', () => {
    const { hits, made } = shaped(1, 4)
    hits(0, 1, 2, 3)
    made.invalidate()
    expect(hits(4, 5, 6, 7, 4, 5, 6, 7)).toEqual([0, 0, 0, 0, 1, 1, 1, 1])
  })

  test('shapes that cannot be', () => {
    expect(() => shaped(3, 1)).toThrow('GART TLB sets')
    expect(() => shaped(0, 1)).toThrow('is not a power of two')
    expect(() => shaped(4, -1)).toThrow('GART TLB ways')
    expect(() => shaped(4, 1.5)).toThrow('is not a whole number')
  })

  test('whatever the shape, what a device sees is what a list of pages says', () => {
    const shape = fc.record({
      sets: fc.constantFrom(1, 2, 8),
      ways: fc.integer({ min: 0, max: 3 }),
      replacement: fc.constantFrom('lru', 'fifo', 'random'),
    })
    const step = fc.oneof(
      fc.record({ kind: fc.constant('store' as const), page: fc.nat(15), to: fc.nat(3) }),
      fc.record({ kind: fc.constant('flush' as const) }),
      fc.record({ kind: fc.constant('dma' as const), page: fc.nat(15) }),
    )
    fc.assert(
      fc.property(shape, fc.array(step, { maxLength: 80 }), ({ sets, ways, replacement }, steps) => {
        const { made } = shaped(sets, ways, replacement)
        const device = made.device(0x10)
        const hits = made.staleHits()
        const now = new Map<number, number>()
        // Per page: everything that it led to since the last flush. A TLB may have any of it.
        const since = new Map<number, Set<number>>()
        for (let to = 0; to < 4; to++) made.store(PAGE_A + to * 4096, BigInt(100 + to))
        for (const op of steps) {
          if (op.kind === 'store') {
            made.entry(op.page, op.to === 0 ? 0 : 0x200003 + op.to * 0x1000)
            now.set(op.page, op.to)
            since.set(op.page, (since.get(op.page) ?? new Set([9])).add(op.to))
          } else if (op.kind === 'flush') {
            made.invalidate()
            for (const [page, to] of now) since.set(page, new Set([to]))
          } else {
            const seen = Number(device.get(APERTURE + op.page * 4096))
            const current = now.get(op.page) ?? 9
            const expected = current === 9 ? 100 : current === 0 ? -1 : 100 + current
            const told = hits.splice(0).length
            if (seen === expected) expect(told).toBe(0)
            else {
              const possible = [...(since.get(op.page) ?? [])].map((to) => (to === 0 ? -1 : to === 9 ? 100 : 100 + to))
              expect([possible.includes(seen), told]).toEqual([true, 1])
            }
          }
        }
      }),
      runs(60),
    )
  })
})
