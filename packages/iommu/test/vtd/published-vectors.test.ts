import { expect, test } from 'vitest'
import { Board } from './board.ts'

/**
 * Addresses, values and order of operations of QEMU's own test of its unit (tests/qtest/iommu-intel-test.c; facts F.1), typed by
 * hand: legacy-trans and legacy-pt, and the staleness test of its three granularities.
 */
const ROOT = 0x10000000
const CONTEXT = 0x10001000
const [L4, L3, L2, L1] = [0x10010000, 0x10011000, 0x10012000, 0x10013000]
const QUEUE = 0x10020000
const STATUS = 0x10021000
const IOVA = 0x10200567
const TARGET = 0x10100000

function unit(): Board {
  const board = new Board({ lowFrames: 0x10400 })
  board.store(ROOT, BigInt(CONTEXT) | 1n, 0n)
  // IOVA 0x10200567: indices 0, 0, 0x81, 0.
  board.store(L4, BigInt(L3) | 3n)
  board.store(L3, BigInt(L2) | 3n)
  board.store(L2 + 8 * 0x81, BigInt(L1) | 3n)
  board.store(L1, BigInt(TARGET) | 3n, BigInt(TARGET + 0x3000) | 3n)
  return board
}

/** The sequence that the test asserts, register by register. */
function start(board: Board): void {
  board.write64(0x20, BigInt(ROOT))
  board.write(0x18, 0x40000000)
  board.until(0x1c, 0x40000000, 0x40000000)
  board.write64(0x90, BigInt(QUEUE))
  expect(board.read64(0x80)).toBe(0n)
  board.write64(0x88, 0n)
  board.write(0x18, 0x04000000)
  board.until(0x1c, 0x04000000, 0x04000000)
  board.write(0x38, 0)
  board.write(0x3c, 0)
  board.write(0x40, 0xfee00000)
  board.write(0x44, 0)
  board.write(0x18, 0x84000000)
  board.until(0x1c, 0x80000000, 0x80000000)
  expect(board.read(0x1c)).toBe(0xc4000000)
}

/** Context entry of 00:01.0 with domain 0 and width code 2. */
const context = (board: Board, type: bigint): void => board.store(CONTEXT + 8 * 16, BigInt(L4) | (type << 2n) | 1n, 2n)

function invalidate(board: Board, slot: number, low: bigint, high: bigint): void {
  board.store(STATUS, 0n)
  board.store(QUEUE + slot * 16, low, high, 0x5a5a5a5a_00000025n, BigInt(STATUS))
  board.write(0x88, (slot + 2) * 16)
  for (let i = 0; i < 100 && board.load(STATUS) === 0n; i++) board.elapse(100)
  expect(board.load(STATUS)).toBe(0x5a5a5a5an)
}

test('legacy-trans: 0x10200567 reaches 0x10100567 (F.1) [vtd.page.format]', () => {
  const board = unit()
  context(board, 0n)
  start(board)
  expect(board.device().write(IOVA, Uint8Array.of(0x78, 0x56, 0x34, 0x12))).toBe(2)
  expect((board.load(0x10100560) >> 56n) | ((board.load(0x10100568) & 0xffffffn) << 8n)).toBe(0x12345678n)
})

test('legacy-pt: 0x10200567 reaches 0x10200567 (F.1) [vtd.context.pass-through]', () => {
  const board = unit()
  context(board, 2n)
  start(board)
  expect(board.device().write(IOVA, Uint8Array.of(0x78, 0x56, 0x34, 0x12))).toBe(1)
  expect(board.load(0x10200560) >> 56n).toBe(0x78n)
  expect(board.load(0x10100560)).toBe(0n)
})

test.each([
  ['global', 0x12n, 0n],
  ['domain', 0x22n, 0n],
  ['page', 0x32n, 0x10200000n],
])('a rewritten leaf is used only after a %s invalidation (F.1) [vtd.cache.stale]', (granularity, low, high) => {
  const board = unit()
  context(board, 0n)
  start(board)
  const device = board.device()
  board.store(TARGET, 0xaaaan)
  board.store(TARGET + 0x1000, 0xbbbbn)
  board.store(TARGET + 0x3000, 0xccccn)
  expect(device.get(0x10200000)).toBe(0xaaaan)
  expect(device.get(0x10201000)).toBe(0xccccn)
  board.store(L1, BigInt(TARGET + 0x1000) | 3n, BigInt(TARGET) | 3n)
  expect(device.get(0x10200000)).toBe(0xaaaan)
  invalidate(board, 0, low, high)
  expect(device.get(0x10200000)).toBe(0xbbbbn)
  // A page-selective invalidation leaves the second page of the domain as it was.
  expect(device.get(0x10201000)).toBe(granularity === 'page' ? 0xccccn : 0xaaaan)
})
