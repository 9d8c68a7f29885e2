import { describe, expect, test } from 'vitest'
import { type VtdPersonality, vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, L2, L4, PAGE_A, PAGE_B, ROOT } from './board.ts'
import { custom } from './personality.ts'
import { DATA, Rig } from './rig.ts'

/** Caching mode (facts A.6; VT-d specification 6.1): what is absent or wrong may be remembered too, until it is invalidated. */
const { qemu48 } = vtdPersonalities
const caching = (changes: Partial<VtdPersonality> = {}) => custom(qemu48, { capLow: qemu48.capLow | 0x80, ...changes })

function board(change: (b: Board) => void, personality = caching()): Board {
  const made = new Board({ personality })
  made.ordinary()
  change(made)
  made.store(PAGE_A, 0xaan)
  made.store(PAGE_B, 0xbbn)
  made.turnOn()
  made.queueOn()
  return made
}

/** Context entry and leaf that let 0xaa be read. */
const GOOD_CONTEXT = [BigInt(L4) | 1n, 0x102n] as const
const contexts = {
  global: 0x11n,
  domain: (id: bigint) => 0x21n | (id << 16n),
  device: (id: bigint) => 0x31n | (id << 16n) | (8n << 32n),
}
const iotlb = { global: 0x12n, domain: (id: bigint) => 0x22n | (id << 16n), page: (id: bigint) => 0x32n | (id << 16n) }

describe('context faults are remembered under domain id 0 [vtd.cache.cm-1.context]', () => {
  test.each<[string, number, (b: Board) => void]>([
    ['absent root entry', 1, (b) => b.store(ROOT, 0n)],
    ['absent context entry', 2, (b) => b.store(CONTEXT + 8 * 16, 0n, 0n)],
    ['unsupported width', 3, (b) => b.context(8, BigInt(L4) | 1n, 0x105n)],
    ['reserved bits of the root entry', 0xa, (b) => b.store(ROOT, BigInt(CONTEXT) | 3n)],
    ['reserved bits of the context entry', 0xb, (b) => b.context(8, BigInt(L4) | 0x11n, 0x102n)],
  ])('%s', (_name, reason, change) => {
    for (const [invalidation, forgets] of [
      [contexts.domain(1n), false],
      [contexts.device(1n), false],
      [iotlb.global, false],
      [contexts.device(0n), true],
      [contexts.domain(0n), true],
      [contexts.global, true],
    ] as const) {
      const made = board(change)
      const device = made.device()
      expect(device.get(IOVA)).toBe(-1n)
      made.context(8, ...GOOD_CONTEXT)
      expect(device.get(IOVA)).toBe(-1n)
      made.faults()
      made.invalidate(invalidation)
      expect(device.get(IOVA)).toBe(forgets ? 0xaan : -1n)
      if (!forgets) expect(made.faults()).toMatchObject([{ reason }])
    }
  })

  test('with its FPD', () => {
    const made = board((b) => b.store(CONTEXT + 8 * 16, 2n, 0n))
    const device = made.device()
    expect([device.get(IOVA), device.get(IOVA), made.faults()]).toEqual([-1n, -1n, []])
  })

  test('a table that cannot be read is memory’s fault and not remembered', () => {
    const made = board((b) => b.store(ROOT, 0x900001n, 0n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.context(8, ...GOOD_CONTEXT)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})

describe('page faults are remembered under the domain’s id [vtd.cache.cm-1.page]', () => {
  test.each<[string, number, (b: Board) => void]>([
    ['absent leaf', 6, (b) => b.store(L1, 0n)],
    ['absent directory', 6, (b) => b.store(L2 + 8, 0n)],
    ['leaf without the right', 6, (b) => b.store(L1, BigInt(PAGE_A) | 2n)],
    ['reserved bits', 0xc, (b) => b.store(L1, BigInt(PAGE_A) | 0x4000000000000003n)],
  ])('%s', (_name, reason, change) => {
    for (const [low, high, forgets] of [
      [iotlb.page(1n), BigInt(IOVA + 0x1000), false],
      [iotlb.page(2n), BigInt(IOVA), false],
      [iotlb.domain(2n), 0n, false],
      [iotlb.page(1n), BigInt(IOVA), true],
      [iotlb.page(1n) | 0xc0n, BigInt(IOVA) | 0x40n, true],
      [iotlb.page(1n), BigInt(IOVA) | 9n, true],
      [iotlb.domain(1n), 0n, true],
      [iotlb.global, 0n, true],
    ] as const) {
      const made = board(change)
      const device = made.device()
      expect(device.get(IOVA)).toBe(-1n)
      made.tables(BigInt(PAGE_A) | 3n)
      expect(device.get(IOVA)).toBe(-1n)
      made.faults()
      made.invalidate(low, high)
      expect(device.get(IOVA)).toBe(forgets ? 0xaan : -1n)
      if (!forgets) expect(made.faults()).toMatchObject([{ reason }])
    }
  })

  test('for the direction that was refused', () => {
    const made = board((b) => b.store(L1, BigInt(PAGE_A) | 1n))
    const device = made.device()
    expect([device.put(IOVA, 1n), device.get(IOVA)]).toEqual([-1, 0xaan])
    made.store(L1, BigInt(PAGE_A) | 3n)
    expect([device.put(IOVA, 1n), device.get(IOVA)]).toEqual([-1, 0xaan])
  })

  test('a zero-length read is judged anew each time', () => {
    const made = board((b) => b.store(L1, 0n), caching({ capLow: qemu48.capLow | 0x400080 }))
    const device = made.device()
    expect(device.read(IOVA, 0)).toBe(-1)
    made.store(L1, BigInt(PAGE_A) | 2n)
    expect(device.read(IOVA, 0)).toBe(2)
  })

  test('a table without RAM, an address beyond the width and an output in the window are not remembered', () => {
    const made = board((b) => b.store(L2 + 8, 0x900003n))
    const device = made.device()
    expect(device.get(IOVA)).toBe(-1n)
    made.store(L2 + 8, BigInt(L1) | 3n)
    made.store(L1, 0xfee00003n)
    expect(device.get(IOVA)).toBe(-1n)
    made.store(L1, BigInt(PAGE_A) | 3n)
    expect(device.get(IOVA)).toBe(0xaan)
  })

  test('it is bounded: others push it out', () => {
    const made = board((b) => b.store(L1, 0n, 0n, 0n, 0n, 0n), caching({ absent: { sets: 4, ways: 1 } }))
    const device = made.device()
    device.get(IOVA)
    device.get(IOVA + 0x4000)
    made.store(L1, BigInt(PAGE_A) | 3n)
    expect(device.get(IOVA)).toBe(0xaan)
  })
})

describe('the driver on a unit in caching mode', () => {
  const personality = caching()

  test('says that new mappings must be invalidated, and never uses domain id 0 [vtd.driver.context.caching-mode]', () => {
    const rig = new Rig({ personality })
    const { table } = rig.start()
    expect(rig.driver.capabilities.invalidateOnMap).toBe(true)
    const context = Number(rig.load(Number(rig.read64(0x20))) & ~0xfffn) + 8 * 16
    expect((rig.load(context + 8) >> 8n) & 0xffffn).toBe(BigInt(table))
    expect(table).toBeGreaterThan(0)
  })

  test('attach is seen by a device that faulted before, from the first request on [vtd.driver.context.caching-mode]', () => {
    const rig = new Rig({ personality })
    const device = rig.device()
    expect(rig.driver.enable()).toBe(0)
    expect(device.get(0x5000)).toBe(-1n)
    const table = rig.driver.createTable(48)
    rig.map(table, 0x5000, DATA, 1)
    expect(rig.driver.attach(8, table)).toBe(0)
    expect(device.put(0x5000, 1n)).toBe(2)
    rig.driver.block(8)
    expect(device.put(0x5000, 1n)).toBe(-1)
    rig.driver.attach(8, table)
    expect(device.put(0x5000, 1n)).toBe(2)
  })

  test('a mapping is seen after its invalidation, and not before where the page had faulted [vtd.driver.map.caching-mode]', () => {
    const rig = new Rig({ personality })
    const { device, table } = rig.start()
    expect(device.get(0x5000)).toBe(-1n)
    rig.map(table, 0x5000, DATA, 1)
    expect(device.read(0x5000, 8)).toBe(-1)
    rig.driver.queueInvalidation(table, 0, 0x5000, 1)
    expect(rig.driver.completeInvalidations()).toBe(0)
    expect(device.read(0x5000, 8)).toBe(2)
  })

  test('an interrupt that was blocked before its entry was made is sent [vtd.driver.map.caching-mode]', () => {
    const rig = new Rig({ personality })
    const { device } = rig.start()
    expect(device.message(0, 0xfee00018)).toBe(-1)
    const message = { addressLow: 0, addressHigh: 0, data: 0 }
    expect(rig.driver.mapInterrupt(8, 0x41, message)).toBe(0)
    expect([device.message(message.data, message.addressLow >>> 0), rig.vectors()]).toEqual([1, [0x41]])
  })
})
