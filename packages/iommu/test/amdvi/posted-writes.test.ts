import { describe, expect, test } from 'vitest'
import { Board, IOVA, L1, L2, PAGE_A, PAGE_B, RW, STATUS } from './board.ts'

/**
 * Translated writes may land late. What orders them before the frame is given away is the COMPLETION_WAIT behind the invalidation
 * (facts B.7: invalidate, wait, only then free), which the caller awaits.
 */
const LATEST = 1000

function board(): Board {
  const made = new Board()
  made.ordinary()
  made.store(L1 + 8, BigInt(PAGE_B) | RW | 1n)
  made.turnOn()
  return made
}

describe.each<[string, number, number, number]>([
  ['the page', 0x30000001, IOVA, 0],
  ['a block of pages', 0x30000001, IOVA | 0x7f001, 0],
  ['the domain', 0x30000001, 0xfffff003, 0x7fffffff],
  ['everything', 0x80000000, 0, 0],
])(
  'a write on its way when its page goes: invalidation of %s [amdvi.posted.late, amdvi.command.wait-drains]',
  (_name, word1, word2, word3) => {
    test('lands in the frame’s next owner’s data when nobody waited', () => {
      const made = board()
      made.device().put(IOVA + 8, 0xbadn)
      made.store(L1, 0n)
      made.queue(0, word1, word2, word3)
      made.tell()
      made.elapse(400)
      made.store(PAGE_A + 8, 0x600dn)
      made.elapse(LATEST)
      expect(made.load(PAGE_A + 8)).toBe(0xbadn)
    })

    test('has landed when the wait has completed', () => {
      const made = board()
      made.device().put(IOVA + 8, 0xbadn)
      made.store(L1, 0n)
      made.command(0, word1, word2, word3)
      expect(made.load(PAGE_A + 8)).toBe(0xbadn)
      made.store(PAGE_A + 8, 0x600dn)
      made.elapse(10 * LATEST)
      expect(made.load(PAGE_A + 8)).toBe(0x600dn)
    })
  },
)

test('a wait before the invalidation orders nothing [amdvi.command.wait-drains]', () => {
  const made = board()
  made.device().put(IOVA + 8, 0xbadn)
  made.store(L1, 0n)
  made.queue(STATUS | 1, 0x10000000, 1)
  made.queue(0, 0x30000001, IOVA, 0)
  made.tell()
  made.elapse(400)
  expect(made.load(STATUS)).toBe(1n)
  made.device(16).put(0, 0n)
  made.store(PAGE_A + 8, 0x600dn)
  made.elapse(LATEST)
  // The drain of the wait took the write along: it had landed by then.
  expect(made.load(PAGE_A + 8)).toBe(0x600dn)
})

test('a write after the wait and before an invalidation without one is late [amdvi.posted.late]', () => {
  const made = board()
  const device = made.device()
  made.wait()
  device.put(IOVA + 8, 0xbadn)
  made.queue(0, 0x30000001, IOVA, 0)
  made.tell()
  made.elapse(400)
  made.store(PAGE_A + 8, 0x600dn)
  made.elapse(LATEST)
  expect(made.load(PAGE_A + 8)).toBe(0xbadn)
})

test('commands behind the last wait of a batch are not waited for, those before it are [amdvi.command.wait-drains]', () => {
  const made = board()
  const device = made.device()
  device.put(IOVA + 8, 1n)
  device.put(IOVA + 0x1008, 2n)
  made.queue(0, 0x30000001, IOVA, 0)
  made.queue(STATUS | 1, 0x10000000, 1)
  made.queue(0, 0x30000001, IOVA + 0x1000, 0)
  made.tell()
  made.elapse(400)
  expect(made.read(0x2000)).toBe(48)
  made.store(PAGE_A + 8, 0x600dn)
  made.elapse(10 * LATEST)
  expect(made.load(PAGE_A + 8)).toBe(0x600dn)
})

test('time alone lands every write; only writes to the page that goes are meant [amdvi.posted.late]', () => {
  const made = board()
  const device = made.device()
  device.put(IOVA + 8, 0xbadn)
  made.elapse(LATEST)
  device.put(IOVA + 0x1008, 0xbadn)
  made.queue(0, 0x30000001, IOVA, 0)
  made.tell()
  made.elapse(400)
  made.store(PAGE_A + 8, 0x600dn)
  made.store(PAGE_B + 8, 0x600dn)
  made.elapse(LATEST)
  expect([made.load(PAGE_A + 8), made.load(PAGE_B + 8)]).toEqual([0x600dn, 0x600dn])
})

test('the same through a 2 MiB page: only the bytes of the write are late [amdvi.posted.late]', () => {
  const made = board()
  made.store(L2 + 8, RW | 1n)
  made.device().put(IOVA + PAGE_A + 8, 0xbadn)
  made.store(L2 + 8, 0n)
  made.queue(0, 0x30000001, IOVA, 0)
  made.tell()
  made.elapse(400)
  made.store(PAGE_A, 1n, 2n, 3n)
  made.elapse(LATEST)
  expect([made.load(PAGE_A), made.load(PAGE_A + 8), made.load(PAGE_A + 16)]).toEqual([1n, 0xbadn, 3n])
})

test('who does not wait at all gives a frame away that the device still reaches [amdvi.command.late]', () => {
  const made = board()
  const device = made.device()
  device.put(IOVA, 1n)
  made.store(L1, 0n)
  made.queue(0, 0x30000001, IOVA, 0)
  made.tell()
  made.store(PAGE_A, 0x600dn)
  expect(device.put(IOVA, 0xbadn)).toBe(2)
  expect(made.load(PAGE_A)).toBe(0xbadn)
})
