import { describe, expect, test } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { Board, ENTRIES, type Probe } from './board.ts'
import { custom } from './personality.ts'

/** Interrupt remapping (facts A.1, A.3, G; VT-d specification 5.1, 9.9): entries and messages by hand. Device 00:01.0, source id 8. */
const SILICON = vtdPersonalities['sandybridge-ep']
const BLOCKED = -1
/** SVT = 1, SQ = 0, SID = 8. */
const ONLY_8 = 0x4_0008n

/** The address of a remappable message with handle `handle`; `shv` says that the data hold a subhandle. */
const address = (handle: number, shv = false): number =>
  0xfee00010 + (handle & 0x7fff) * 32 + (handle > 0x7fff ? 4 : 0) + (shv ? 8 : 0)

interface Made {
  readonly board: Board
  readonly device: Probe
  /** Sends a remappable message of device 00:01.0: its outcome. */
  readonly send: (handle: number, data?: number) => number
  /** The one record, as words 1 and 0; nothing when there is none. */
  readonly record: () => readonly string[]
}

function made({ low = 0x7n, personality = SILICON } = {}): Made {
  const board = new Board({ personality })
  board.remapOn(low)
  const device = board.device()
  const at = personality.capabilities.faultRecordOffset
  return {
    board,
    device,
    send: (handle, data) =>
      data === undefined ? device.message(0, address(handle)) : device.message(data, address(handle, true)),
    record: () => {
      if ((board.read(0x34) & 2) === 0) return []
      return [board.read64(at + 8), board.read64(at)].map((word) => word.toString(16).padStart(16, '0'))
    },
  }
}

describe('which messages are remapped', () => {
  test('IRE = 0: every message passes as it is, whatever its format [vtd.interrupt.disabled]', () => {
    const board = new Board({ personality: SILICON })
    const device = board.device()
    expect([device.message(0x41), device.message(0x42, 0xfee00010)]).toEqual([1, 1])
    expect(board.vectors()).toEqual([0x41, 0x42])
  })

  test('the old format: blocked with 25, no index in the record [vtd.interrupt.compatibility, vtd.interrupt.reason-25]', () => {
    const { board, device, record } = made()
    expect(device.message(0x41)).toBe(BLOCKED)
    expect(record()).toEqual(['8000002500000008', '0000000000000000'])
    expect(board.vectors()).toEqual([])
  })

  test('the old format passes with CFI, and with EIME not even then [vtd.interrupt.compatibility]', () => {
    for (const [low, outcome] of [
      [0x7n, 1],
      [0x807n, BLOCKED],
    ] as const) {
      const { board, device } = made({ low })
      board.write(0x18, 0x02800000)
      board.until(0x1c, 0x00800000, 0x00800000)
      expect([device.message(0x41), board.vectors()]).toEqual([outcome, outcome === 1 ? [0x41] : []])
    }
  })

  test('the remappable format names its entry by address 19:5 and 2, the data do not matter [vtd.interrupt.handle]', () => {
    const { board, device, send } = made({ low: 0xfn })
    board.store(ENTRIES + 0x1234 * 16, 0x0051_0001n, 0n)
    board.store(ENTRIES + 0x8002 * 16, 0x0052_0001n, 0n)
    expect([send(0x1234), device.message(0xffff_ffff, address(0x1234)), send(0x8002)]).toEqual([1, 1, 1])
    expect(board.vectors()).toEqual([0x51, 0x51, 0x52])
  })

  test('with SHV the data are added to the handle [vtd.interrupt.handle]', () => {
    const { board, send } = made()
    for (let i = 0; i < 8; i++) board.entry(0x20 + i, BigInt(0x60 + i) * 0x10000n + 1n)
    expect([send(0x20, 0), send(0x20, 5), send(0, 0x27)]).toEqual([1, 1, 1])
    expect(board.vectors()).toEqual([0x60, 0x65, 0x67])
  })

  test('translation and the context entry have no say [vtd.interrupt.translation-independent]', () => {
    const { board, send } = made()
    board.entry(3, 0x0061_0001n, ONLY_8)
    expect(send(3)).toBe(1)
    // Now with translation on, a root entry that is absent, and nothing in the log.
    board.turnOn()
    expect([send(3), board.vectors(), board.faults()]).toEqual([1, [0x61, 0x61], []])
  })

  test('what is no message is not looked at [vtd.window.other]', () => {
    const { board, device } = made()
    expect([device.write(address(3), new Uint8Array(8)), device.read(address(3), 4)]).toEqual([-2, -2])
    expect(board.faults()).toEqual([])
  })
})

describe('what is sent [vtd.interrupt.delivery]', () => {
  test('vector 23:16; destination, trigger mode, hint and available bits change nothing on a board with one CPU', () => {
    const { board, send } = made()
    board.entry(1, 0x0000_ab00_0071_0f1dn)
    expect([send(1), board.vectors()]).toEqual([1, [0x71]])
  })

  test('delivery mode 7:5: NMI and SMI name no vector', () => {
    const { board, send } = made()
    board.entry(1, 0x0071_0081n)
    board.entry(2, 0x0071_0041n)
    board.entry(3, 0x0071_0021n)
    expect([send(1), send(2), send(3), board.vectors()]).toEqual([1, 1, 1, [0x71]])
    expect([...board.machine.interrupts.withoutVector]).toEqual([0, 0, 1, 0, 1, 0, 0, 0])
  })
})

describe('faults, each with its record: index in 63:48 [vtd.log.interrupt]', () => {
  test('20: data 31:16 with SHV [vtd.interrupt.reason-20]', () => {
    const { board, send, record } = made()
    board.entry(3, 0x0071_0001n)
    expect(send(3, 0x10000)).toBe(BLOCKED)
    expect(record()).toEqual(['8000002000000008', '0000000000000000'])
  })

  test('21: the index is not below 2^(S+1) [vtd.interrupt.reason-21]', () => {
    for (const [low, last] of [
      [0x0n, 1],
      [0x3n, 15],
      [0x7n, 255],
    ] as const) {
      const { board, send, record } = made({ low })
      board.entry(last, 0x0071_0001n)
      board.entry(last + 1, 0x0072_0001n)
      expect(send(last)).toBe(1)
      expect(send(last + 1)).toBe(BLOCKED)
      const index = (last + 1).toString(16).padStart(4, '0')
      expect(record()).toEqual(['8000002100000008', `${index}000000000000`])
      expect(board.vectors()).toEqual([0x71])
    }
  })

  test('21: handle and subhandle beyond 16 bits do not wrap [vtd.interrupt.reason-21]', () => {
    const { board, send, record } = made({ low: 0xfn })
    board.entry(1, 0x0071_0001n)
    expect(send(0xffff, 2)).toBe(BLOCKED)
    expect(record()).toEqual(['8000002100000008', '0001000000000000'])
  })

  test('21: the entry lies above the host address width [vtd.interrupt.reason-21]', () => {
    const board = new Board({ personality: SILICON })
    board.write64(0xb8, (1n << 46n) | 7n)
    board.write(0x18, 0x01000000)
    board.until(0x1c, 0x01000000, 0x01000000)
    board.write(0x18, 0x02000000)
    board.until(0x1c, 0x02000000, 0x02000000)
    expect(board.device().message(0, address(3))).toBe(BLOCKED)
    expect([board.read64(0x108), board.read64(0x100)]).toEqual([0x8000002100000008n, 0x0003000000000000n])
  })

  test('22: P = 0, whatever else the entry holds [vtd.interrupt.reason-22, vtd.interrupt.order]', () => {
    const { board, send, record } = made()
    board.entry(0x10, 0xffff_ffff_ffff_fffcn, 0xffff_ffff_ffff_ffffn)
    expect(send(0x10)).toBe(BLOCKED)
    expect(record()).toEqual(['8000002200000008', '0010000000000000'])
  })

  test('23: the table cannot be read [vtd.interrupt.reason-23]', () => {
    const board = new Board({ personality: SILICON })
    board.write64(0xb8, 0x900007n)
    board.write(0x18, 0x01000000)
    board.until(0x1c, 0x01000000, 0x01000000)
    board.write(0x18, 0x02000000)
    board.until(0x1c, 0x02000000, 0x02000000)
    expect(board.device().message(0, address(0xff))).toBe(BLOCKED)
    expect([board.read64(0x108), board.read64(0x100)]).toEqual([0x8000002300000008n, 0x00ff000000000000n])
  })

  test.each([
    ['12', 1n << 12n, 0n],
    ['13', 1n << 13n, 0n],
    ['14', 1n << 14n, 0n],
    ['24', 1n << 24n, 0n],
    ['31', 1n << 31n, 0n],
    ['32, low byte of the destination in xAPIC mode', 1n << 32n, 0n],
    ['39', 1n << 39n, 0n],
    ['48', 1n << 48n, 0n],
    ['63', 1n << 63n, 0n],
    ['84', 0n, 1n << 20n],
    ['95', 0n, 1n << 31n],
    ['96', 0n, 1n << 32n],
    ['127', 0n, 1n << 63n],
  ])('24: reserved bit %s of a present entry [vtd.interrupt.reason-24]', (_bit, low, high) => {
    const { board, send, record } = made()
    board.entry(5, 0x0071_0001n | low, ONLY_8 | high)
    expect(send(5)).toBe(BLOCKED)
    expect(record()).toEqual(['8000002400000008', '0005000000000000'])
    expect(board.vectors()).toEqual([])
  })

  test('24: the posted format (IM = 1) without posted interrupts [vtd.interrupt.posted]', () => {
    const { board, send, record } = made()
    board.entry(5, 0x0071_8001n, ONLY_8)
    expect(send(5)).toBe(BLOCKED)
    expect(record()).toEqual(['8000002400000008', '0005000000000000'])
  })

  test('with EIME all 32 bits of the destination are its own [vtd.interrupt.reason-24]', () => {
    const { board, send } = made({ low: 0x807n })
    board.entry(5, 0xffff_ffff_0071_0001n, ONLY_8)
    expect([send(5), board.vectors()]).toEqual([1, [0x71]])
  })

  test('26: another source [vtd.interrupt.reason-26]', () => {
    const { board, send, record } = made()
    board.entry(5, 0x0071_0001n, 0x4_0010n)
    expect(send(5)).toBe(BLOCKED)
    expect(record()).toEqual(['8000002600000008', '0005000000000000'])
  })

  test('the source is looked at before reserved bits [vtd.interrupt.order]', () => {
    const { board, send, record } = made()
    board.entry(5, 0x0071_1001n, 0x4_0010n)
    send(5)
    expect(record()[0]).toBe('8000002600000008')
  })

  test('reserved data before the index, the index before the entry [vtd.interrupt.order]', () => {
    const first = made()
    first.send(0x7000, 0x10000)
    expect(first.record()[0]).toBe('8000002000000008')
    const second = made()
    second.board.store(ENTRIES + 256 * 16, 0n)
    second.send(256)
    expect(second.record()[0]).toBe('8000002100000008')
  })

  test.each([
    ['22', 0x0071_0002n, ONLY_8, []],
    ['24', 0x0071_1003n, ONLY_8, []],
    ['26', 0x0071_0003n, 0x4_0010n, []],
  ])(
    'FPD of the entry keeps %s out of the log; the message is blocked [vtd.interrupt.fpd]',
    (_reason, low, high, log) => {
      const { board, send, record } = made()
      board.entry(5, low, high)
      expect([send(5), record(), board.read(0x34), board.vectors()]).toEqual([BLOCKED, log, 0, []])
      expect(board.machine.clock.snapshot().dmaFault).toBe(1)
      // Another entry's fault is told.
      expect([send(6), record()[0]]).toEqual([BLOCKED, '8000002200000008'])
    },
  )

  test('FPD of the context entry has no say', () => {
    const { board, send, record } = made()
    board.context(8, 3n, 0x102n)
    send(5)
    expect(record()[0]).toBe('8000002200000008')
  })

  test('they use the same records and the same event as DMA faults, and the event is not remapped [vtd.event.not-remapped]', () => {
    const { board, device, send } = made()
    board.write(0x3c, 0x60)
    board.write(0x40, 0xfee00000)
    board.write(0x38, 0)
    send(5)
    board.turnOn()
    device.get(0x3000)
    expect(board.vectors()).toEqual([0x60])
    expect([board.read64(0x108), board.read64(0x118)]).toEqual([0x8000002200000008n, 0xc000000100000008n])
  })

  test('the invalidation event is not remapped either [vtd.event.not-remapped]', () => {
    const { board } = made()
    board.queueOn()
    board.write(0xa4, 0x51)
    board.write(0xa8, 0xfee00000)
    board.write(0xa0, 0)
    board.queue(0x15n)
    board.ring()
    board.elapse(2000)
    expect(board.vectors()).toEqual([0x51])
  })

  test('a trace sink is told where the message went', () => {
    const { board, send } = made()
    const seen: unknown[] = []
    const nothing = () => {}
    board.machine.trace = {
      domain: nothing,
      device: nothing,
      hypercall: nothing,
      map: nothing,
      unmap: nothing,
      dma: nothing,
      fault: (_time, sbdf, write, ioAddress, reason) => seen.push({ sbdf, write, ioAddress, reason }),
    }
    send(5)
    expect(seen).toEqual([{ sbdf: 8, write: true, ioAddress: 0xfee000b0, reason: 0x22 }])
  })
})

describe('who may use an entry', () => {
  /** Outcomes of requesters 0…0x1f (bus 0) and some of other buses, through the unit itself. */
  function allowed(source: bigint, requesters: readonly number[]): number[] {
    const { board, device } = made()
    board.entry(5, 0x0071_0001n, source)
    board.machine.memory.view.setUint32(device.buffer, 0, true)
    return requesters.filter((requester) => board.unit.dmaWrite(requester, 0, address(5) | 0, device.buffer, 4) === 1)
  }
  const functions = Array.from({ length: 0x20 }, (_, i) => i)

  test('SVT 0: everybody [vtd.interrupt.svt-none]', () =>
    expect(allowed(0x0_0008n, [0, 8, 0xffff])).toEqual([0, 8, 0xffff]))

  test.each([
    ['FFFF', 0n, [0xd]],
    ['FFFB', 1n, [0x9, 0xd]],
    ['FFF9', 2n, [0x9, 0xb, 0xd, 0xf]],
    ['FFF8', 3n, [0x8, 0x9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf]],
  ])('SVT 1, mask %s [vtd.interrupt.svt-source]', (_mask, qualifier, wanted) => {
    expect(allowed(0x4_000dn | (qualifier << 16n), functions)).toEqual(wanted)
    expect(allowed(0x4_000dn | (qualifier << 16n), [0x10d, 0xff0d])).toEqual([])
  })

  test('SVT 2: the bus is from SID 15:8 to SID 7:0, both included [vtd.interrupt.svt-bus]', () => {
    const buses = [0x0000, 0x01ff, 0x0200, 0x02ff, 0x0308, 0x0400, 0x04ff, 0x0500, 0xff00]
    expect(allowed(0x8_0204n, buses)).toEqual([0x0200, 0x02ff, 0x0308, 0x0400, 0x04ff])
    // The other way round nobody is between them.
    expect(allowed(0x8_0402n, buses)).toEqual([])
    expect(allowed(0x8_0202n, buses)).toEqual([0x0200, 0x02ff])
  })

  test('SVT 3 is reserved: nobody [vtd.interrupt.svt-reserved]', () => {
    expect(allowed(0xc_0008n, [0, 8, 0x800])).toEqual([])
    const { board, send, record } = made()
    board.entry(5, 0x0071_0001n, 0xc_0008n)
    expect([send(5), record()[0]]).toEqual([BLOCKED, '8000002600000008'])
  })
})

describe('the interrupt entry cache', () => {
  const cached = (changes: Partial<typeof SILICON> = {}): Made => {
    const it = made({ personality: custom(SILICON, changes) })
    it.board.queueOn()
    for (let i = 0; i < 64; i++) it.board.entry(i, BigInt(0x30 + i) * 0x10000n + 1n, ONLY_8)
    return it
  }
  const GLOBAL = 0x4n
  const index = (at: number, mask = 0) => 0x14n | (BigInt(mask) << 27n) | (BigInt(at) << 32n)

  test('a changed entry is used as it was until it is invalidated [vtd.interrupt.cache.stale]', () => {
    const { board, send } = cached()
    send(5)
    board.entry(5, 0x0099_0001n, ONLY_8)
    expect([send(5), board.vectors()]).toEqual([1, [0x35, 0x35]])
    board.entry(5, 0n)
    expect(send(5)).toBe(1)
    board.invalidate(index(5))
    expect(send(5)).toBe(BLOCKED)
  })

  test('the source id is checked at each use [vtd.interrupt.cache.stale]', () => {
    const { board, send } = cached()
    send(5)
    expect(board.device(16).message(0, address(5))).toBe(BLOCKED)
    expect(board.faults()).toMatchObject([{ reason: 0x26, requester: 16 }])
  })

  test('SIRTP forgets nothing: software must [vtd.interrupt.cache.stale]', () => {
    const { board, send } = cached()
    send(5)
    board.write64(0xb8, 0x50007n)
    board.write(0x18, 0x07000000)
    board.until(0x1c, 0x01000000, 0x01000000)
    expect([send(5), send(6)]).toEqual([1, BLOCKED])
    board.invalidate(GLOBAL)
    expect(send(5)).toBe(BLOCKED)
  })

  test('global: all [vtd.interrupt.cache.global]', () => {
    const { board, send } = cached()
    for (const at of [1, 33]) send(at)
    for (const at of [1, 33]) board.entry(at, 0n)
    board.invalidate(GLOBAL)
    expect([send(1), send(33)]).toEqual([BLOCKED, BLOCKED])
  })

  test.each([
    [0, [21]],
    [1, [20, 21]],
    [3, [16, 17, 18, 19, 20, 21, 22, 23]],
    [15, Array.from({ length: 32 }, (_, i) => i)],
  ])('by index 21 with IM = %i [vtd.interrupt.cache.index]', (mask, gone) => {
    const { board, send } = cached()
    const all = Array.from({ length: 32 }, (_, i) => i)
    all.forEach((at) => send(at))
    all.forEach((at) => board.entry(at, 0n))
    board.invalidate(index(21, mask))
    expect(all.filter((at) => send(at) === BLOCKED)).toEqual(gone)
  })

  test('IM and IIDX do not matter for a global one, MHMV either', () => {
    const { board, send } = cached({ ecapLow: 0x002020fa })
    send(5)
    board.entry(5, 0n)
    board.invalidate(0xf8000004n | (7n << 32n))
    expect(send(5)).toBe(BLOCKED)
    // By index the mask is limited by MHMV = 2.
    board.queue(index(0, 3))
    board.ring()
    board.elapse(3000)
    expect([board.read(0x34) & 0x10, board.read64(0xb0)]).toEqual([0x10, 4n])
  })

  test('other invalidations leave it alone', () => {
    const { board, send } = cached()
    send(5)
    board.entry(5, 0n)
    board.invalidate(0x11n)
    board.invalidate(0x12n)
    expect(send(5)).toBe(1)
  })

  test('it is bounded, and the least recently used entry goes [vtd.interrupt.cache.bounded]', () => {
    const { board, send } = cached({ interrupts: { sets: 1, ways: 2 } })
    send(1)
    send(2)
    send(1)
    send(3)
    for (const at of [1, 2]) board.entry(at, 0n)
    expect([send(1), send(2)]).toEqual([1, BLOCKED])
  })

  test('a fault is not remembered: CM = 0 [vtd.cache.cm-0]', () => {
    const { board, send } = cached()
    board.entry(5, 0n)
    expect(send(5)).toBe(BLOCKED)
    board.entry(5, 0x0041_0001n, ONLY_8)
    expect(send(5)).toBe(1)
  })

  test('it is: CM = 1, with FPD as it was, until the entry is invalidated [vtd.cache.cm-1.interrupt]', () => {
    const { board, send, record } = cached({ capLow: SILICON.capLow | 0x80 })
    board.entry(5, 2n)
    expect([send(5), record()]).toEqual([BLOCKED, []])
    board.entry(6, 0x0041_1001n, ONLY_8)
    expect(send(6)).toBe(BLOCKED)
    board.faults()
    board.entry(5, 0x0041_0001n, ONLY_8)
    board.entry(6, 0x0042_0001n, ONLY_8)
    expect([send(5), record()]).toEqual([BLOCKED, []])
    expect(send(6)).toBe(BLOCKED)
    expect(board.faults()).toMatchObject([{ reason: 0x24 }])
    board.invalidate(index(4, 2))
    expect([send(5), send(6), board.vectors()]).toEqual([1, 1, [0x41, 0x42]])
  })
})
