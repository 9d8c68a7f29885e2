import { expect, test } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { fc, runs } from '../property.ts'
import { Board, ENTRIES } from './board.ts'

/** Interrupt remapping written from the specification (5.1.4, 9.9) with 64-bit numbers, for comparison: a vector, or −reason. */
function reference(
  entryOf: (index: number) => readonly [bigint, bigint],
  entries: number,
  extended: boolean,
  requester: number,
  address: bigint,
  data: bigint,
): number {
  const bits = (value: bigint, high: number, low: number) =>
    (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n)
  if (bits(address, 4, 4) === 0n) return -0x25
  const handle = bits(address, 19, 5) | (bits(address, 2, 2) << 15n)
  const subhandle = bits(address, 3, 3) === 1n
  if (subhandle && bits(data, 31, 16) !== 0n) return -0x20
  const index = Number(handle + (subhandle ? bits(data, 15, 0) : 0n))
  if (index >= entries) return -0x21
  const [low, high] = entryOf(index)
  if (bits(low, 0, 0) === 0n) return -0x22
  const sid = Number(bits(high, 15, 0))
  const ignored = [0, 4, 6, 7][Number(bits(high, 17, 16))]!
  const verified = [
    true,
    (sid & ~ignored) === (requester & ~ignored),
    requester >> 8 >= sid >> 8 && requester >> 8 <= (sid & 0xff),
    false,
  ][Number(bits(high, 19, 18))]!
  if (!verified) return -0x26
  const reserved =
    bits(low, 14, 12) |
    bits(low, 15, 15) |
    bits(low, 31, 24) |
    bits(high, 63, 20) |
    (extended ? 0n : bits(low, 39, 32) | bits(low, 63, 48))
  return reserved === 0n ? Number(bits(low, 23, 16)) : -0x24
}

test('messages against a remapper with 64-bit numbers, on entries with flipped bits [vtd.interrupt.order, vtd.log.interrupt]', () => {
  const personality = vtdPersonalities['sandybridge-ep']
  const seen = new Map<number, number>()
  const input = fc.record({
    extended: fc.boolean(),
    size: fc.constantFrom(3, 7, 8),
    handle: fc.oneof({ weight: 5, arbitrary: fc.nat(15) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
    subhandle: fc.boolean(),
    remappable: fc.constantFrom(true, true, true, true, true, false),
    data: fc.oneof({ weight: 4, arbitrary: fc.nat(3) }, fc.nat(0xffff), fc.constant(0x10001)),
    requester: fc.constantFrom(8, 9, 0xc, 0x108, 0x210),
    sid: fc.constantFrom(8, 9, 0xc, 0x108, 0x0002, 0x0102),
    svt: fc.constantFrom(0n, 0n, 0n, 1n, 1n, 2n, 3n),
    qualifier: fc.bigInt({ min: 0n, max: 3n }),
    vector: fc.integer({ min: 0x30, max: 0xef }),
    flips: fc.array(fc.oneof(fc.nat(127), fc.nat(1)), { maxLength: 2 }),
  })
  const boards = new Map<string, Board>()
  const boardOf = (extended: boolean, size: number): Board => {
    const key = `${extended} ${size}`
    let board = boards.get(key)
    if (board === undefined) {
      board = new Board({ personality })
      board.remapOn(BigInt(size) | (extended ? 0x800n : 0n))
      board.queueOn()
      board.device()
      boards.set(key, board)
    }
    return board
  }
  const property = fc.property(input, (each) => {
    const board = boardOf(each.extended, each.size)
    const { machine, unit } = board
    const index = each.handle + (each.subhandle ? each.data & 0xffff : 0)
    let low = 1n | (BigInt(each.vector) << 16n)
    let high = BigInt(each.sid) | (each.qualifier << 16n) | (each.svt << 18n)
    for (const bit of each.flips) {
      // Delivery modes without a vector are another test's.
      if (bit >= 5 && bit <= 7) continue
      if (bit < 64) low ^= 1n << BigInt(bit)
      else high ^= 1n << BigInt(bit - 64)
    }
    const entries = 2 << each.size
    if (index < entries) board.store(ENTRIES + index * 16, low, high)
    const address =
      0xfee00000 +
      (each.remappable ? 16 : 0) +
      (each.subhandle ? 8 : 0) +
      (each.handle & 0x7fff) * 32 +
      (each.handle > 0x7fff ? 4 : 0)
    const wanted = reference(
      () => [low, high],
      entries,
      each.extended,
      each.requester,
      BigInt(address),
      BigInt(each.data),
    )
    seen.set(Math.min(wanted, 0), (seen.get(Math.min(wanted, 0)) ?? 0) + 1)
    const probe = machine.pci.at(8) as ReturnType<Board['device']>
    const send = (): number => {
      machine.interrupts.received.fill(0)
      machine.memory.view.setUint32(probe.buffer, each.data, true)
      const outcome = unit.dmaWrite(each.requester, 0, address | 0, probe.buffer, 4)
      if (outcome === 1) return machine.interrupts.received.indexOf(1)
      const at = 0x100 + ((board.read(0x34) >>> 8) & 0xff) * 16
      const logged = board.read(0x34) & 2
      expect(outcome).toBe(-1)
      if (logged === 0) {
        // FPD of an entry that was looked at.
        expect([low & 2n, [-0x22, -0x24, -0x26].includes(wanted)]).toEqual([2n, true])
        return wanted
      }
      const [word, info] = [board.read64(at + 8), board.read64(at)]
      const reason = Number((word >> 32n) & 0xffn)
      expect(word & 0xffffn).toBe(BigInt(each.requester))
      if (reason !== 0x20 && reason !== 0x25) expect(info).toBe(BigInt(index & 0xffff) << 48n)
      board.faults()
      return -reason
    }
    board.invalidate(0x4n)
    expect(send()).toBe(wanted)
    // The same from the cache, where it was cached.
    expect(send()).toBe(wanted)
    if (index < entries) board.store(ENTRIES + index * 16, 0n, 0n)
    if (wanted >= 0) expect(send()).toBe(wanted)
  })
  fc.assert(property, runs(1500))
  for (const reason of [0, -0x20, -0x21, -0x22, -0x24, -0x25, -0x26]) expect(seen.get(reason) ?? 0).toBeGreaterThan(10)
}, 120_000)
