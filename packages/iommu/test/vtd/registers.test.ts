import { describe, expect, test } from 'vitest'
import { type VtdPersonalityName, vtdPersonalities } from '../../src/hardware.ts'
import { Board, ENTRIES, IOVA, PAGE_A, ROOT } from './board.ts'
import { custom } from './personality.ts'

/** The register file (facts A.1): values typed from there. */

describe('capabilities of the personalities, less the features that come later [vtd.register.ver, vtd.register.cap, vtd.register.ecap]', () => {
  // CAP of the facts without AFL, PLMR, PHMR (bits 3, 5, 6) and 63:56; ECAP without DT (2) and 31:24, 63:32.
  test.each<[VtdPersonalityName, string, number, bigint, bigint, number, number, number]>([
    ['nehalem-ep', '[vtd.personality.nehalem-ep]', 0x10, 0x00c90780106f0402n, 0x00f020fan, 0x100, 8, 0x200],
    ['sandybridge-ep', '[vtd.personality.sandybridge-ep]', 0x10, 0x00d2078c106f0402n, 0x00f020fan, 0x100, 8, 0x200],
    [
      'sapphirerapids-sp',
      '[vtd.personality.sapphirerapids-sp]',
      0x60,
      0x00ed008c40780c06n,
      0x00f050dbn,
      0x400,
      1,
      0x500,
    ],
    ['qemu39', '[vtd.personality.qemu39]', 0x10, 0x00d2008c22260206n, 0x00f00f4an, 0x220, 1, 0xf0],
    ['qemu48', '[vtd.personality.qemu48]', 0x10, 0x00d2008c222f0606n, 0x00f00f4an, 0x220, 1, 0xf0],
  ])('%s %s', (name, _rule, version, cap, ecap, records, count, iotlb) => {
    const board = new Board({ personality: vtdPersonalities[name] })
    expect(board.read(0x00)).toBe(version)
    expect(board.read64(0x08)).toBe(cap)
    expect(board.read64(0x10)).toBe(ecap)
    // FRO 33:24, NFR 47:40, IRO 17:8, in units of 16 bytes.
    expect(Number((cap >> 24n) & 0x3ffn) * 16).toBe(records)
    expect(Number((cap >> 40n) & 0xffn) + 1).toBe(count)
    expect(Number((ecap >> 8n) & 0x3ffn) * 16).toBe(iotlb)
    expect(vtdPersonalities[name].capabilities).toMatchObject({
      faultRecordOffset: records,
      faultRecords: count,
      iotlbOffset: iotlb,
    })
  })

  test('fields as they decode from every bit of the silicon’s registers', () => {
    expect(vtdPersonalities['nehalem-ep'].capabilities).toEqual({
      domainBits: 8,
      cachingMode: false,
      writeBufferFlush: false,
      levels: 1 << 4,
      addressBits: 48,
      zeroLengthRead: true,
      faultRecordOffset: 0x100,
      faultRecords: 8,
      pages2M: false,
      pages1G: false,
      pageInvalidation: true,
      maxOrder: 9,
      drainReads: true,
      drainWrites: true,
      coherent: false,
      queue: true,
      passThrough: true,
      snoopControl: true,
      deviceTlb: false,
      interruptRemapping: true,
      extendedInterrupts: true,
      maxIndexOrder: 15,
      iotlbOffset: 0x200,
    })
    expect(vtdPersonalities.qemu39.capabilities).toMatchObject({
      domainBits: 16,
      levels: 1 << 3,
      addressBits: 39,
      zeroLengthRead: false,
      pages2M: true,
      pages1G: true,
      maxOrder: 18,
      snoopControl: false,
      extendedInterrupts: false,
    })
    expect(vtdPersonalities['sapphirerapids-sp'].capabilities).toMatchObject({
      levels: (1 << 4) | (1 << 5),
      addressBits: 57,
      maxOrder: 45,
      coherent: true,
    })
  })

  test('what is not modelled is not advertised [vtd.personality.absent]', () => {
    for (const personality of Object.values(vtdPersonalities)) {
      const board = new Board({ personality })
      // AFL, PLMR, PHMR; FL1GP, PI, FL5LP, ECMDS, ESIRTPS, ESRTPS.
      expect(board.read64(0x08) & 0xff00_0000_0000_0068n).toBe(0n)
      // DT; MTS, NEST, PRS and all above.
      expect(board.read64(0x10) & 0xffff_ffff_ff00_0004n).toBe(0n)
    }
  })
})

/** Rows of A.1: name, offset, value after reset, and what is read after all ones were written. */
type Row = readonly [name: string, offset: number, reset: number, written: number]

function check(board: Board, [, offset, reset, written]: Row): void {
  expect(board.read(offset)).toBe(reset)
  board.write(offset, 0xffffffff)
  expect(board.read(offset)).toBe(written)
}

describe('reset values and write masks of a unit with 65536 domains, without EIM and device TLBs', () => {
  test.each<Row>([
    ['VER [vtd.register.ver]', 0x00, 0x10, 0x10],
    ['reserved', 0x04, 0, 0],
    ['CAP low [vtd.register.cap]', 0x08, 0x222f0606, 0x222f0606],
    ['CAP high', 0x0c, 0x00d2008c, 0x00d2008c],
    ['ECAP low [vtd.register.ecap]', 0x10, 0x00f00f4a, 0x00f00f4a],
    ['ECAP high', 0x14, 0, 0],
    ['GCMD [vtd.register.gcmd]', 0x18, 0, 0],
    ['GSTS [vtd.register.gsts]', 0x1c, 0, 0],
    ['RTADDR low [vtd.register.rtaddr]', 0x20, 0, 0xfffffc00],
    ['RTADDR high', 0x24, 0, 0xffffffff],
    ['CCMD low: SID is write-only [vtd.register.ccmd]', 0x28, 0, 0x0000ffff],
    ['CCMD high: ICC, CIRG; FM is write-only [vtd.register.ccmd]', 0x2c, 0, 0xe0000000],
    ['reserved', 0x30, 0, 0],
    ['FSTS: nothing to clear [vtd.register.fsts]', 0x34, 0, 0],
    ['FECTL: IM [vtd.register.fectl]', 0x38, 0x80000000, 0x80000000],
    ['FEDATA 15:0 [vtd.register.fedata]', 0x3c, 0, 0xffff],
    ['FEADDR 31:2 [vtd.register.fedata]', 0x40, 0, 0xfffffffc],
    ['FEUADDR without EIM [vtd.register.feuaddr]', 0x44, 0, 0],
    ['AFLOG low [vtd.register.aflog]', 0x58, 0, 0],
    ['AFLOG high', 0x5c, 0, 0],
    ['reserved', 0x60, 0, 0],
    ['PMEN [vtd.register.pmr]', 0x64, 0, 0],
    ['PLMBASE [vtd.register.pmr]', 0x68, 0, 0],
    ['PLMLIMIT [vtd.register.pmr]', 0x6c, 0, 0],
    ['PHMBASE low [vtd.register.pmr]', 0x70, 0, 0],
    ['PHMBASE high', 0x74, 0, 0],
    ['PHMLIMIT low [vtd.register.pmr]', 0x78, 0, 0],
    ['PHMLIMIT high', 0x7c, 0, 0],
    ['IQH low [vtd.register.iqh]', 0x80, 0, 0],
    ['IQH high', 0x84, 0, 0],
    ['IQT low: 18:4 [vtd.register.iqt]', 0x88, 0, 0x7fff0],
    ['IQT high', 0x8c, 0, 0],
    ['IQA low: address, DW, QS [vtd.register.iqa]', 0x90, 0, 0xfffff807],
    ['IQA high', 0x94, 0, 0xffffffff],
    ['reserved', 0x98, 0, 0],
    ['ICS: nothing to clear [vtd.register.ics]', 0x9c, 0, 0],
    ['IECTL: IM [vtd.register.iectl]', 0xa0, 0x80000000, 0x80000000],
    ['IEDATA 15:0 [vtd.register.iectl]', 0xa4, 0, 0xffff],
    ['IEADDR 31:2 [vtd.register.iectl]', 0xa8, 0, 0xfffffffc],
    ['IEUADDR without EIM [vtd.register.feuaddr]', 0xac, 0, 0],
    ['IQERCD low [vtd.register.iqercd]', 0xb0, 0, 0],
    ['IQERCD high', 0xb4, 0, 0],
    ['IRTA low: address, S; no EIME without EIM [vtd.register.irta]', 0xb8, 0, 0xfffff00f],
    ['IRTA high', 0xbc, 0, 0xffffffff],
    ['PQH [vtd.register.page-requests]', 0xc0, 0, 0],
    ['PQT [vtd.register.page-requests]', 0xc8, 0, 0],
    ['PQA [vtd.register.page-requests]', 0xd0, 0, 0],
    ['PRS [vtd.register.page-requests]', 0xdc, 0, 0],
    ['PECTL [vtd.register.page-requests]', 0xe0, 0, 0],
    ['PEDATA [vtd.register.page-requests]', 0xe4, 0, 0],
    ['PEADDR [vtd.register.page-requests]', 0xe8, 0, 0],
    ['PEUADDR [vtd.register.page-requests]', 0xec, 0, 0],
    ['IVA low is write-only [vtd.register.iva]', 0xf0, 0, 0],
    ['IVA high is write-only', 0xf4, 0, 0],
    ['IOTLB low: reserved [vtd.register.iotlb]', 0xf8, 0, 0],
    ['IOTLB high: IVT, IIRG, DR, DW, DID [vtd.register.iotlb]', 0xfc, 0, 0xb003ffff],
    ['MTRRCAP [vtd.register.mtrr]', 0x100, 0, 0],
    ['FRCD word 0 [vtd.register.frcd]', 0x220, 0, 0],
    ['FRCD word 1', 0x224, 0, 0],
    ['FRCD word 2', 0x228, 0, 0],
    ['FRCD word 3: no F to clear', 0x22c, 0, 0],
    ['behind the last record', 0x230, 0, 0],
    ['the last word', 0xffc, 0, 0],
  ])('%s at %i', (...row) => check(new Board(), row))
})

describe('where real silicon differs', () => {
  test.each<Row>([
    ['FEUADDR with EIM [vtd.register.feuaddr]', 0x44, 0, 0xffffffff],
    ['IEUADDR with EIM [vtd.register.feuaddr]', 0xac, 0, 0xffffffff],
    ['IRTA with EIME [vtd.register.irta]', 0xb8, 0, 0xfffff80f],
    ['CCMD low: 8-bit domain ids [vtd.register.ccmd.domain]', 0x28, 0, 0x000000ff],
    ['IOTLB high: 8-bit domain ids [vtd.register.ccmd.domain]', 0x20c, 0, 0xb00300ff],
    ['record 7, word 3', 0x17c, 0, 0],
    ['behind record 7', 0x180, 0, 0],
  ])('%s at %i', (...row) => check(new Board({ personality: vtdPersonalities['sandybridge-ep'] }), row))

  test.each<Row>([
    ['IRTA low', 0xb8, 0, 0],
    ['IRTA high', 0xbc, 0, 0],
  ])('without ECAP.IR: %s at %i [vtd.register.irta]', (...row) =>
    check(new Board({ personality: custom(vtdPersonalities.qemu48, { ecapLow: 0x00f00f42 }) }), row),
  )

  test.each<Row>([
    ['IQH', 0x80, 0, 0],
    ['IQT', 0x88, 0, 0],
    ['IQA low', 0x90, 0, 0],
    ['IQA high', 0x94, 0, 0],
    ['ICS', 0x9c, 0, 0],
    ['IECTL', 0xa0, 0, 0],
    ['IEDATA', 0xa4, 0, 0],
    ['IEADDR', 0xa8, 0, 0],
    ['IQERCD', 0xb0, 0, 0],
  ])('without ECAP.QI: %s at %i [vtd.register.queue-absent]', (...row) =>
    check(new Board({ personality: custom(vtdPersonalities.qemu48, { ecapLow: 0x00f00f40 }) }), row),
  )

  test('without ECAP.QI the queue cannot be turned on, without IR remapping cannot [vtd.register.queue-absent, vtd.register.gcmd]', () => {
    const board = new Board({ personality: custom(vtdPersonalities.qemu48, { ecapLow: 0x00f00f40 }) })
    board.write(0x18, 0x07800000)
    board.elapse(10000)
    expect(board.read(0x1c)).toBe(0)
    expect(board.device().message(0x41)).toBe(1)
  })
})

describe('access rules (A.1)', () => {
  test('an access that is not aligned, or behind the block, reads all ones [vtd.register.alignment]', () => {
    const board = new Board()
    expect(board.read(0x02)).toBe(0xffffffff)
    expect(board.read64(0x04)).toBe(0xffffffffffffffffn)
    expect(board.read(0x1000)).toBe(0xffffffff)
  })

  test('a register of 64 bits is written whole or by halves [vtd.register.alignment]', () => {
    const board = new Board()
    board.write64(0x20, 0x12345678_9abcdef0n)
    expect([board.read(0x20), board.read(0x24), board.read64(0x20)]).toEqual([
      0x9abcdc00,
      0x12345678,
      0x12345678_9abcdc00n,
    ])
    board.write(0x24, 1)
    expect(board.read64(0x20)).toBe(0x1_9abcdc00n)
  })

  test('the lower half of CCMD starts nothing, the upper does [vtd.register.upper-half]', () => {
    const board = new Board()
    board.write(0x28, 0x80000000)
    board.elapse(5000)
    const { invalidation } = board.machine.clock.snapshot()
    board.write(0x2c, 0xa0000000)
    board.elapse(5000)
    expect([invalidation, board.machine.clock.snapshot().invalidation, board.read(0x2c)]).toEqual([0, 1, 0x28000000])
  })

  test('writing IQA sets head and tail to 0, by either half [vtd.register.iqa.rewind]', () => {
    for (const offset of [0x90, 0x94]) {
      const board = new Board()
      board.write(0x88, 0x40)
      board.write(offset, 0x30000)
      expect(board.read64(0x88)).toBe(0n)
    }
  })

  test('while the queue is on, writing IQA moves nothing', () => {
    const board = new Board()
    board.queueOn()
    board.invalidate(0x12n)
    board.write64(0x90, 0x50000n)
    expect([board.read64(0x80), board.read64(0x88)]).toEqual([32n, 32n])
    board.invalidate(0x12n)
  })
})

describe('GCMD and GSTS (A.1)', () => {
  test('a command shows in the status only after it completed [vtd.register.gsts]', () => {
    const board = new Board()
    board.write64(0x20, BigInt(ROOT))
    board.write(0x18, 0x40000000)
    expect(board.read(0x1c)).toBe(0)
    board.elapse(3000)
    expect(board.read(0x1c)).toBe(0x40000000)
    board.write(0x18, 0x80000000)
    expect(board.read(0x1c)).toBe(0x40000000)
    board.elapse(3000)
    expect(board.read(0x1c)).toBe(0xc0000000)
  })

  test('RTPS drops while SRTP runs and comes back [vtd.register.gsts.rtps]', () => {
    const board = new Board()
    board.write(0x18, 0x40000000)
    board.until(0x1c, 0x40000000, 0x40000000)
    board.write(0x18, 0x40000000)
    expect(board.read(0x1c)).toBe(0)
    board.until(0x1c, 0x40000000, 0x40000000)
  })

  test('RTADDR counts from SRTP on, not from its own write [vtd.register.latch]', () => {
    const board = new Board()
    board.ordinary()
    board.turnOn()
    board.write64(0x20, 0x3ff000n)
    const device = board.device()
    expect(device.get(IOVA)).toBe(0n)
    // The table at 0x3ff000 is all zero; the context entry is still cached until it is invalidated.
    board.write(0x18, 0xc0000000)
    board.until(0x1c, 0x40000000, 0x40000000)
    expect(device.get(IOVA)).toBe(0n)
    const other = board.device(16)
    expect(other.get(IOVA)).toBe(-1n)
    expect(board.faults()).toMatchObject([{ reason: 1, requester: 16 }])
  })

  test('translation off: DMA passes as it is; off again: it passes again [vtd.te.off]', () => {
    const board = new Board()
    const device = board.device()
    board.ordinary()
    expect(device.put(0x3000, 7n)).toBe(1)
    board.turnOn()
    expect(device.put(0x3008, 7n)).toBe(-1)
    expect(device.put(IOVA, 7n)).toBe(2)
    board.turnOff()
    expect(device.put(0x3010, 7n)).toBe(1)
    expect([board.load(0x3000), board.load(0x3008), board.load(0x3010)]).toEqual([7n, 0n, 7n])
    // Nothing answers where no RAM is, high memory does.
    expect(device.put(0x900000, 7n)).toBe(-2)
    expect(device.put(0x1_0000_0000, 7n)).toBe(1)
    expect(board.load(0x1_0000_0000)).toBe(7n)
  })

  test('IRTPS drops while SIRTP runs; the switches IRE and CFI show in GSTS [vtd.register.gsts.irtps, vtd.register.gsts]', () => {
    const board = new Board()
    board.write(0x18, 0x01000000)
    expect(board.read(0x1c)).toBe(0)
    board.until(0x1c, 0x01000000, 0x01000000)
    board.write(0x18, 0x01000000)
    expect(board.read(0x1c)).toBe(0)
    board.until(0x1c, 0x01000000, 0x01000000)
    board.write(0x18, 0x02000000)
    board.until(0x1c, 0x02000000, 0x02000000)
    board.write(0x18, 0x02800000)
    board.until(0x1c, 0x00800000, 0x00800000)
    expect(board.read(0x1c)).toBe(0x03800000)
    board.write(0x18, 0)
    board.until(0x1c, 0x02800000, 0)
  })

  test('IRTA counts from SIRTP on [vtd.register.latch]', () => {
    const board = new Board()
    board.entry(1, 0x0041_0001n)
    board.store(0x50000 + 16, 0x0042_0001n, 0n)
    board.remapOn()
    const device = board.device()
    board.write64(0xb8, 0x50007n)
    expect(device.message(0, 0xfee00030)).toBe(1)
    expect(board.vectors()).toEqual([0x41])
    expect(ENTRIES).not.toBe(0x50000)
  })

  test('SFL, EAFL and commands without a capability change nothing [vtd.register.gcmd]', () => {
    const board = new Board()
    board.write(0x18, 0x38000000)
    board.elapse(10000)
    expect(board.read(0x1c)).toBe(0)
  })

  test('a unit with RWBF shows WBFS while the write buffer is flushed; one without ignores WBF [vtd.register.gsts.wbfs]', () => {
    const { qemu48 } = vtdPersonalities
    const board = new Board({ personality: custom(qemu48, { capLow: qemu48.capLow | 0x10 }) })
    board.write(0x18, 0x08000000)
    expect(board.read(0x1c)).toBe(0x08000000)
    board.until(0x1c, 0x08000000, 0)
    const other = new Board()
    other.write(0x18, 0x08000000)
    expect(other.read(0x1c)).toBe(0)
  })
})

describe('interrupt messages of devices (A.2, interrupt window)', () => {
  test('an aligned 4-byte write into 0xFEExxxxx is a message and is not translated, with translation off and on [vtd.window.never-translated]', () => {
    const board = new Board()
    const device = board.device()
    for (const on of [false, true]) {
      if (on) board.turnOn()
      expect(device.write(0xfee00000, Uint8Array.of(0x41, 0, 0, 0))).toBe(1)
      expect(board.machine.interrupts.received[0x41]).toBe(on ? 2 : 1)
    }
    expect(board.faults()).toEqual([])
  })

  test('anything else in the window goes nowhere, without a fault [vtd.window.other]', () => {
    const board = new Board()
    const device = board.device()
    board.turnOn()
    expect(device.write(0xfee00000, new Uint8Array(8).fill(0x41))).toBe(-2)
    expect(device.write(0xfee00002, new Uint8Array(4).fill(0x41))).toBe(-2)
    expect(device.read(0xfee00000, 4)).toBe(-2)
    expect(board.machine.interrupts.received[0x41]).toBe(0)
    expect(board.faults()).toEqual([])
  })
})

test('pass-through: the address stands as it is, also above 4 GiB, whatever the table pointer says [vtd.context.pass-through]', () => {
  const board = new Board()
  board.context(8, 0x900000n | 9n, 0x102n)
  board.turnOn()
  const device = board.device()
  expect(device.put(0x5000, 3n)).toBe(1)
  expect(device.put(0x1_0000_5000, 4n)).toBe(1)
  expect([board.load(0x5000), board.load(0x1_0000_5000)]).toEqual([3n, 4n])
  expect(device.put(1n << 50n, 4n)).toBe(-2)
  expect(board.faults()).toEqual([])
})

test('a device behind a conventional bridge is looked up under the bridge (bus below it, function 0) [vtd.requester.bridge]', () => {
  const board = new Board()
  const bus = board.machine.pci.addBridge(0, 0x20, 'conventional')
  board.machine.pci.configWrite(0x20, 4, 2, 4)
  board.turnOn()
  const device = board.device(8, bus)
  expect(device.get(IOVA)).toBe(-1n)
  expect(board.faults()).toMatchObject([{ reason: 1, requester: bus << 8 }])
})

describe('reset (facts G)', () => {
  function used(): Board {
    const board = new Board({ personality: vtdPersonalities['sandybridge-ep'] })
    board.ordinary()
    board.turnOn()
    board.queueOn()
    const device = board.device()
    device.get(IOVA)
    device.get(0x7000)
    board.queue(0n)
    board.ring()
    board.elapse(5000)
    board.write(0x38, 0)
    board.write(0x40, 0xfee00000)
    expect([board.read(0x34), board.read(0xb0), board.read(0x1c)]).toEqual([0x12, 3, 0xc4000000])
    return board
  }

  test('of the power: everything has its reset value, caches are empty [vtd.register.reset]', () => {
    const board = used()
    board.unit.reset(true)
    expect([0x1c, 0x20, 0x34, 0x38, 0x40, 0x80, 0x90, 0xb0, 0x100, 0x108, 0x10c].map((at) => board.read(at))).toEqual([
      0, 0, 0, 0x80000000, 0, 0, 0, 0, 0, 0, 0,
    ])
    const device = board.machine.pci.at(8) as ReturnType<Board['device']>
    expect(device.put(PAGE_A, 7n)).toBe(1)
    // Cleared entries would still be served from a cache that survived.
    board.store(ROOT, 0n)
    board.turnOn()
    expect(device.get(IOVA)).toBe(-1n)
    expect(board.read64(0x108) & 0xff_0000_ffffn).toBe(0x1_0000_0008n)
  })

  test('with the power on: records, FSTS, IQERCD stay [vtd.register.sticky]', () => {
    const board = used()
    board.unit.reset(false)
    expect([0x1c, 0x20, 0x34, 0x38, 0x40, 0x80, 0x90, 0xb0].map((at) => board.read(at))).toEqual([
      0, 0, 0x12, 0x80000000, 0, 0, 0, 3,
    ])
    expect([board.read64(0x100), board.read64(0x108)]).toEqual([0x7000n, 0xc0000006_00000008n])
  })

  test('a command that was under way has no effect any more; nor has an invalidation', () => {
    const board = new Board()
    board.write(0x18, 0x80000000)
    board.write(0x2c, 0xa0000000)
    board.unit.reset(true)
    board.elapse(10000)
    expect([board.read(0x1c), board.read(0x2c), board.machine.clock.snapshot().invalidation]).toEqual([0, 0, 0])
  })
})
