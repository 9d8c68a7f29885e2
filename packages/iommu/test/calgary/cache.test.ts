import { describe, expect, test } from 'vitest'
import { calgaryPersonalities, type StaleHit } from '../../src/hardware.ts'
import { Board, DAC_DISABLE, IOVA, MCSR_ENABLE, OTHER, PAGE_A, PAGE_B, TABLE, TCE_ENABLE } from './board.ts'

const { calgary } = calgaryPersonalities
const ON = TCE_ENABLE | DAC_DISABLE | MCSR_ENABLE

describe('the cache answers from itself', () => {
  test('after an unmap the device still reaches the page, until TAR is written with the value that it has [calgary.cache.stale, calgary.tar.invalidates]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    device.put(IOVA, 1n)
    board.entry(IOVA, 0n)
    expect([device.put(IOVA, 2n), board.load(PAGE_A), board.csr()]).toEqual([2, 2n, 0])
    board.tar(BigInt(TABLE))
    expect([device.put(IOVA, 3n), board.load(PAGE_A)]).toEqual([-1, 2n])
  })

  test('the attack: a frame has a new owner, and a device writes it by the old entry [calgary.cache.stale]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    device.get(IOVA)
    board.entry(IOVA, 0n)
    board.store(PAGE_A, 0x5ec7e7n)
    expect([device.get(IOVA), device.put(IOVA, 0xbadn), board.load(PAGE_A)]).toEqual([0x5ec7e7n, 2, 0xbadn])
  })

  test('nor is a page that leads elsewhere now, or a lost right, noticed [calgary.cache.stale]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    device.put(IOVA, 1n)
    board.entry(IOVA, BigInt(PAGE_B) | 1n)
    expect([device.put(IOVA, 2n), board.load(PAGE_B)]).toEqual([2, 0n])
    board.tar(BigInt(TABLE))
    expect([device.put(IOVA, 2n), device.get(IOVA)]).toEqual([-1, 0n])
  })

  test('bit 3 makes no difference to a TAR write [calgary.tar.invalidates]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    device.put(IOVA, 1n)
    board.entry(IOVA, 0n)
    board.tar(BigInt(TABLE) | 8n)
    expect(device.put(IOVA, 2n)).toBe(-1)
  })

  test('a TAR write concerns its own bridge only [calgary.tar.invalidates]', () => {
    const board = new Board().ordinary()
    const [near, far] = [board.device(), board.device(0, board.bus())]
    board.tar(BigInt(OTHER), 1)
    board.config(ON, 1)
    board.entry(IOVA, BigInt(PAGE_B) | 3n, OTHER)
    near.put(IOVA, 1n)
    far.put(IOVA, 1n)
    board.entry(IOVA, 0n)
    board.entry(IOVA, 0n, OTHER)
    board.tar(BigInt(TABLE))
    expect([near.put(IOVA, 2n), far.put(IOVA, 2n)]).toEqual([-1, 2])
  })

  test('an entry that grants nothing is not kept: a new mapping is seen at once [calgary.cache.absent]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    expect([device.put(IOVA + 0x1000, 1n), device.put(IOVA + 0x1000, 1n)]).toEqual([-1, -1])
    board.entry(IOVA + 0x1000, BigInt(PAGE_B) | 1n)
    expect([device.get(IOVA + 0x1000), device.put(IOVA + 0x1000, 1n)]).toEqual([0n, -1])
    // A right more is found in memory, too.
    board.entry(IOVA + 0x1000, BigInt(PAGE_B) | 3n)
    expect(device.put(IOVA + 0x1000, 1n)).toBe(2)
  })

  test('hits, misses and entries read are counted', () => {
    const board = new Board().ordinary()
    const device = board.device()
    const before = board.machine.clock.snapshot()
    device.put(IOVA, 1n)
    device.get(IOVA)
    device.get(IOVA + 0x1000)
    const { iotlbHit, iotlbMiss, walkRead, dmaFault } = board.machine.clock.snapshot()
    expect([iotlbHit - before.iotlbHit, iotlbMiss - before.iotlbMiss]).toEqual([1, 2])
    expect([walkRead - before.walkRead, dmaFault - before.dmaFault]).toEqual([2, 1])
  })
})

describe('size, associativity and replacement are the personality’s [calgary.cache.shape]', () => {
  /** Which of the accesses of `order` (pages) are hits, in a cache of 4 sets of 2 ways; all pages are in one set. */
  const hits = (order: readonly number[], cache: (typeof calgary)['cache']): boolean[] => {
    const board = new Board({ personality: { ...calgary, cache } }).ordinary()
    const device = board.device()
    for (let page = 0; page < 8; page++) board.entry(IOVA + page * 0x4000, BigInt(PAGE_A) | 3n)
    return order.map((page) => {
      const before = board.machine.clock.snapshot().iotlbHit
      expect(device.read(IOVA + page * 0x4000, 8)).toBe(2)
      return board.machine.clock.snapshot().iotlbHit > before
    })
  }

  test('least recently used: a hit keeps an entry', () => {
    const order = [0, 1, 0, 2, 0, 1]
    expect(hits(order, { sets: 4, ways: 2, replacement: 'lru' })).toEqual([false, false, true, false, true, false])
  })

  test('first in, first out: a hit does not', () => {
    const order = [0, 1, 0, 2, 0, 1]
    expect(hits(order, { sets: 4, ways: 2, replacement: 'fifo' })).toEqual([false, false, true, false, false, false])
  })

  test('random: something of the set goes, the same in every run', () => {
    const order = Array.from({ length: 40 }, (_, i) => [0, 1, 2][i % 3]!)
    const first = hits(order, { sets: 4, ways: 2, replacement: 'random' })
    expect(first).toEqual(hits(order, { sets: 4, ways: 2, replacement: 'random' }))
    // Both others would never hit this order.
    expect([first.includes(true), hits(order, { sets: 4, ways: 2 }).includes(true)]).toEqual([true, false])
  })

  test('none at all, and room for all', () => {
    expect(hits([0, 0, 1, 1], { sets: 4, ways: 0 })).toEqual([false, false, false, false])
    expect(hits([0, 1, 2, 3, 0, 1, 2, 3], { sets: 4, ways: 8 }).slice(4)).toEqual([true, true, true, true])
  })
})

describe('the stale-hit detector [calgary.cache.detector]', () => {
  const watched = () => {
    const board = new Board().ordinary()
    const seen: StaleHit[] = []
    board.chip.onStaleHit = (hit) => seen.push({ ...hit })
    return { board, device: board.device(), seen }
  }

  test('tells of a hit that memory no longer grants: by whom, where, what the cache gave', () => {
    const { board, device, seen } = watched()
    device.put(IOVA, 1n)
    device.put(IOVA, 1n)
    expect(seen).toEqual([])
    board.entry(IOVA, 0n)
    device.put(IOVA + 0x10, 2n)
    device.get(IOVA + 0x18)
    expect(seen).toEqual([
      { requester: 8, hi: 0, lo: IOVA + 0x10, write: true, mfn: 0x300 },
      { requester: 8, hi: 0, lo: IOVA + 0x18, write: false, mfn: 0x300 },
    ])
  })

  test('a right that is gone, a frame that is another, a table that is another', () => {
    const { board, device, seen } = watched()
    device.put(IOVA, 1n)
    board.entry(IOVA, BigInt(PAGE_A) | 1n)
    device.get(IOVA)
    expect(seen).toEqual([])
    device.put(IOVA, 1n)
    board.entry(IOVA, BigInt(PAGE_B) | 3n)
    device.get(IOVA)
    expect(seen.map(({ write }) => write)).toEqual([true, false])
  })

  test('an entry to no RAM: told when it leads to RAM now, or nowhere', () => {
    const { board, device, seen } = watched()
    board.entry(IOVA, 0x0000_7fff_f000_0003n)
    device.get(IOVA)
    board.entry(IOVA, 0x0000_7ffe_f000_0003n)
    device.get(IOVA)
    expect(seen).toEqual([])
    board.entry(IOVA, BigInt(PAGE_A) | 3n)
    device.get(IOVA)
    board.entry(IOVA, 0n)
    device.get(IOVA)
    expect(seen.map(({ mfn }) => mfn)).toEqual([-1, -1])
  })

  test('looking changes nothing: no counter, no error, no cached entry', () => {
    const { board, device } = watched()
    device.put(IOVA, 1n)
    board.entry(IOVA, 0n)
    const before = board.machine.clock.snapshot()
    device.put(IOVA, 2n)
    const after = board.machine.clock.snapshot()
    expect([after.walkRead, after.iotlbMiss, after.dmaFault, board.csr()]).toEqual([
      before.walkRead,
      before.iotlbMiss,
      before.dmaFault,
      0,
    ])
    // The count of entries read does not run over into the next miss.
    device.get(IOVA + 0x1000)
    expect(board.machine.clock.snapshot().walkRead).toBe(before.walkRead + 1)
  })
})
