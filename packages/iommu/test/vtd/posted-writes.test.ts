import { describe, expect, test } from 'vitest'
import { Board, IOVA, L1, L2, PAGE_A, PAGE_B, STATUS } from './board.ts'

/** Translated writes may land late; a drain (DW) orders them before the end of an invalidation (facts A.5, I). */
const DRAIN = 0x40n
const LATEST = 1000

function board(): Board {
  const made = new Board()
  made.ordinary()
  made.store(L1 + 8, BigInt(PAGE_B) | 3n)
  made.turnOn()
  made.queueOn()
  return made
}

const page = (address: number, order = 0n): [bigint, bigint] => [0x1_0032n, BigInt(address) | order]

describe.each<[string, bigint, bigint]>([
  ['page', ...page(IOVA)],
  ['a block of pages', ...page(IOVA, 9n)],
  ['domain', 0x1_0022n, 0n],
  ['global', 0x12n, 0n],
])('a write on its way when its page goes, %s [vtd.invalidate.drain]', (_name, low, high) => {
  test('lands in the frame’s next owner’s data when nothing drained it', () => {
    const made = board()
    made.device().put(IOVA + 8, 0xbadn)
    made.store(L1, 0n)
    made.invalidate(low, high)
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(LATEST)
    expect(made.load(PAGE_A + 8)).toBe(0xbadn)
  })

  test('has landed when the invalidation drains', () => {
    const made = board()
    made.device().put(IOVA + 8, 0xbadn)
    made.store(L1, 0n)
    made.invalidate(low | DRAIN, high)
    expect(made.load(PAGE_A + 8)).toBe(0xbadn)
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(10 * LATEST)
    expect(made.load(PAGE_A + 8)).toBe(0x600dn)
  })
})

test('a drain by any later invalidation is as good, if it comes before the page is given away', () => {
  const made = board()
  made.device().put(IOVA + 8, 0xbadn)
  made.store(L1, 0n)
  made.invalidate(0x2_0022n | DRAIN)
  made.invalidate(...page(IOVA))
  made.store(PAGE_A + 8, 0x600dn)
  made.elapse(LATEST)
  expect(made.load(PAGE_A + 8)).toBe(0x600dn)
})

test('time alone lands every write', () => {
  const made = board()
  made.device().put(IOVA + 8, 0xbadn)
  made.elapse(LATEST)
  made.store(L1, 0n)
  made.invalidate(...page(IOVA))
  made.store(PAGE_A + 8, 0x600dn)
  made.elapse(LATEST)
  expect(made.load(PAGE_A + 8)).toBe(0x600dn)
})

test('only writes to the page that goes are meant', () => {
  const made = board()
  const device = made.device()
  device.put(IOVA + 8, 0xbadn)
  device.put(IOVA + 0x1008, 0xbadn)
  made.invalidate(...page(IOVA))
  made.store(PAGE_A + 8, 0x600dn)
  made.store(PAGE_B + 8, 0x600dn)
  made.elapse(LATEST)
  expect([made.load(PAGE_A + 8), made.load(PAGE_B + 8)]).toEqual([0xbadn, 0x600dn])
})

test('the same through a 2 MiB page: only the bytes of the write are late', () => {
  const made = board()
  made.store(L2 + 8, 0x83n)
  made.device().put(IOVA + PAGE_A + 8, 0xbadn)
  made.store(L2 + 8, 0n)
  made.invalidate(...page(IOVA))
  made.store(PAGE_A, 1n, 2n, 3n)
  made.elapse(LATEST)
  expect([made.load(PAGE_A), made.load(PAGE_A + 8), made.load(PAGE_A + 16)]).toEqual([1n, 0xbadn, 3n])
})

test.each([
  ['with bit 48 it drains', 0x10000, 0x600dn],
  ['without, not', 0, 0xbadn],
])('register-based invalidation: %s (A.1)', (_name, drain, kept) => {
  const made = new Board()
  made.ordinary()
  made.turnOn()
  const device = made.device()
  device.get(IOVA)
  made.write(0xfc, 0x90000000 | drain)
  // The command takes 2000 ns; the write goes out shortly before it takes effect.
  made.elapse(1800)
  device.put(IOVA + 8, 0xbadn)
  made.elapse(300)
  made.store(PAGE_A + 8, 0x600dn)
  made.elapse(LATEST)
  expect(made.load(PAGE_A + 8)).toBe(kept)
})

test('the driver that does not wait at all gives a frame away that the device still writes [vtd.driver.unmap.wait]', () => {
  const made = board()
  const device = made.device()
  device.put(IOVA, 1n)
  // Unmap and queue the invalidation, with drain, but do not wait for it.
  made.store(L1, 0n)
  made.queue(0x1_00f2n, BigInt(IOVA))
  made.queue(0x1_00000025n, BigInt(STATUS))
  made.ring()
  made.store(PAGE_A, 0x600dn)
  expect(device.put(IOVA, 0xbadn)).toBe(2)
  expect(made.load(PAGE_A)).toBe(0xbadn)
})
