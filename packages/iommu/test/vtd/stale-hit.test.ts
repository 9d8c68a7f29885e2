import { describe, expect, test } from 'vitest'
import { type StaleHit, vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, L2, L3, L4, PAGE_A, PAGE_B, ROOT } from './board.ts'
import { custom } from './personality.ts'
import { DATA, Rig } from './rig.ts'

/** The detector of stale-hit.ts: what a cache served and memory no longer grants [vtd.cache.stale-hit]. */
const { qemu48 } = vtdPersonalities

function board(change: (b: Board) => void = () => {}, personality = qemu48): { made: Board; hits: StaleHit[] } {
  const made = new Board({ personality })
  made.ordinary()
  change(made)
  made.turnOn()
  made.queueOn()
  const hits: StaleHit[] = []
  made.unit.onStaleHit = (hit) => hits.push({ ...hit })
  return { made, hits }
}

const A = PAGE_A >>> 12

describe('it reports [vtd.cache.stale-hit]', () => {
  test.each<[string, (b: Board) => void]>([
    ['a cleared leaf', (b) => b.store(L1, 0n)],
    ['a leaf that leads elsewhere', (b) => b.store(L1, BigInt(PAGE_B) | 3n)],
    ['a right that was taken back', (b) => b.store(L1, BigInt(PAGE_A) | 1n)],
    ['a cleared directory', (b) => b.store(L3, 0n)],
    ['a directory that leads elsewhere', (b) => b.store(L2 + 8, 0x43003n)],
    ['a cleared context entry', (b) => b.store(CONTEXT + 8 * 16, 0n, 0n)],
    ['a context entry with another table', (b) => b.store(CONTEXT + 8 * 16, 0x44001n)],
    ['a context entry that cannot be right', (b) => b.store(CONTEXT + 8 * 16, BigInt(L4) | 0x11n)],
    ['a cleared root entry', (b) => b.store(ROOT, 0n)],
  ])('%s', (_name, change) => {
    const { made, hits } = board()
    const device = made.device()
    expect(device.put(IOVA + 8, 1n)).toBe(2)
    change(made)
    expect(hits).toEqual([])
    expect(device.put(IOVA + 0x10, 2n)).toBe(2)
    expect(hits).toEqual([{ requester: 8, hi: 0, lo: IOVA + 0x10, write: true, mfn: A }])
    made.invalidate(0x11n)
    made.invalidate(0x12n)
    device.put(IOVA + 0x18, 3n)
    expect(hits).toHaveLength(1)
  })

  test('each access, and each page of one', () => {
    const { made, hits } = board((b) => b.store(L1 + 8, BigInt(PAGE_B) | 3n))
    const device = made.device()
    device.read(IOVA, 0x2000)
    made.store(L1, 0n, 0n)
    device.read(IOVA + 0xff8, 16)
    device.read(IOVA, 8)
    expect(hits).toEqual([
      { requester: 8, hi: 0, lo: IOVA + 0xff8, write: false, mfn: A },
      { requester: 8, hi: 0, lo: IOVA + 0x1000, write: false, mfn: A + 1 },
      { requester: 8, hi: 0, lo: IOVA, write: false, mfn: A },
    ])
  })

  test('hits in large pages', () => {
    const { made, hits } = board((b) => b.store(L2 + 8, 0x83n))
    const device = made.device()
    device.get(IOVA + PAGE_A)
    made.store(L2 + 8, 0n)
    device.get(IOVA + PAGE_B)
    expect(hits).toMatchObject([{ lo: IOVA + PAGE_B, mfn: A + 1 }])
  })

  test('a page below a directory that is gone: the leaf is read anew, through what is cached', () => {
    const { made, hits } = board((b) => b.store(L1 + 8, BigInt(PAGE_B) | 3n))
    const device = made.device()
    device.get(IOVA)
    made.store(L2 + 8, 0n)
    expect(device.get(IOVA + 0x1000)).toBe(0n)
    expect(hits).toMatchObject([{ lo: IOVA + 0x1000, mfn: A + 1 }])
  })

  test('a requester that still passes', () => {
    const { made, hits } = board((b) => b.context(8, 9n, 0x102n))
    const device = made.device()
    expect(device.put(PAGE_A, 1n)).toBe(1)
    made.store(CONTEXT + 8 * 16, 0n)
    expect([device.put(PAGE_A, 1n), device.put(0x900000, 1n)]).toEqual([1, -2])
    expect(hits).toMatchObject([
      { lo: PAGE_A, mfn: A },
      { lo: 0x900000, mfn: -1 },
    ])
  })

  test('a translation to no RAM as mfn −1', () => {
    const { made, hits } = board((b) => b.store(L1, 0x900003n))
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    expect(device.get(IOVA)).toBe(-2n)
    expect(hits).toMatchObject([{ mfn: -1 }])
  })

  test('frames above 4 GiB by their number', () => {
    const { made, hits } = board((b) => b.store(L1, 0x1_0000_5003n))
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    device.get(IOVA)
    expect(hits).toMatchObject([{ mfn: 0x100005 }])
  })
})

describe('it does not report [vtd.cache.stale-hit]', () => {
  test('what memory grants, by whatever entries', () => {
    const { made, hits } = board()
    const device = made.device()
    device.put(IOVA, 1n)
    // Another leaf table with the same contents, and more rights than are asked for.
    made.store(0x43000, BigInt(PAGE_A) | 3n)
    made.store(L2 + 8, 0x43003n)
    device.put(IOVA, 1n)
    device.get(IOVA)
    expect(hits).toEqual([])
  })

  test('no RAM that is other no RAM', () => {
    const { made, hits } = board((b) => b.store(L1, 0x900003n))
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0x901003n)
    device.get(IOVA)
    expect(hits).toEqual([])
  })

  test('what faults, what passes with translation off, and interrupts', () => {
    const { made, hits } = board((b) => b.store(L1, 0n))
    const device = made.device()
    device.get(IOVA)
    device.get(1n << 60n)
    device.message(0x41)
    made.turnOff()
    device.get(PAGE_A)
    expect(hits).toEqual([])
  })

  test('a remembered refusal in caching mode', () => {
    const caching = custom(qemu48, { capLow: qemu48.capLow | 0x80 })
    const { made, hits } = board((b) => b.store(L1, 0n), caching)
    const device = made.device()
    device.get(IOVA)
    made.store(L1, BigInt(PAGE_A) | 3n)
    expect([device.get(IOVA), hits]).toEqual([-1n, []])
  })
})

test('it charges no counter, logs no fault, and switches off again [vtd.cache.stale-hit]', () => {
  const run = (watched: boolean) => {
    const { made, hits } = board()
    if (!watched) made.unit.onStaleHit = null
    expect(made.unit.onStaleHit === null).toBe(!watched)
    const device = made.device()
    device.get(IOVA)
    made.store(L1, 0n)
    for (let i = 0; i < 5; i++) device.get(IOVA)
    device.get(IOVA + 0x1000)
    made.unit.onStaleHit = null
    device.get(IOVA)
    return [made.machine.clock.snapshot(), made.faults(), hits.length] as const
  }
  const [watched, plain] = [run(true), run(false)]
  expect([watched[2], plain[2]]).toEqual([5, 0])
  expect(watched[1]).toEqual(plain[1])
  // Turning it off makes the unit look its context up once more.
  expect({ ...watched[0], contextHit: 0 }).toEqual({ ...plain[0], contextHit: 0 })
})

test('the driver as it is never lets a device use what memory no longer grants, once an unmap has returned [vtd.driver.unmap.order]', () => {
  const rig = new Rig()
  const { device, table } = rig.start()
  const hits: StaleHit[] = []
  rig.unit.onStaleHit = (hit) => hits.push({ ...hit })
  for (let round = 0; round < 50; round++) {
    rig.map(table, 0x5000, DATA + round, 3)
    expect([device.put(0x5000, 1n), device.put(0x7000, 1n)]).toEqual([2, 2])
    rig.unmap(table, 0x5000, 3)
    expect([device.put(0x5000, 1n), device.put(0x7000, 1n)]).toEqual([-1, -1])
  }
  expect(hits).toEqual([])
  // Between clearing and completing it is stale, and seen.
  rig.map(table, 0x5000, DATA, 1)
  device.put(0x5000, 1n)
  rig.driver.unmap(table, 0, 0x5000, 1)
  device.put(0x5000, 1n)
  expect(hits).toHaveLength(1)
})
