import { describe, expect, test } from 'vitest'
import { type VtdPersonalityName, vtdPersonalities } from '../../src/hardware.ts'
import { Board, IOVA, ROOT } from './board.ts'

/** The register file (facts A.1): values typed from there. */

describe('capabilities of the personalities, less the features that come later (A.1)', () => {
  // CAP of the facts without PLMR and PHMR (bits 5, 6); ECAP without DT, IR, EIM (2, 3, 4).
  test.each<[VtdPersonalityName, bigint, bigint, number, number, number]>([
    ['nehalem-ep', 0x00c90780106f0402n, 0x00f02003n, 0x100, 8, 0x200],
    ['sandybridge-ep', 0x00d2078c106f0402n, 0x00f020e2n, 0x100, 8, 0x200],
    ['qemu39', 0x00d2008c22260206n, 0x00f00f42n, 0x220, 1, 0xf0],
    ['qemu48', 0x00d2008c222f0606n, 0x00f00f42n, 0x220, 1, 0xf0],
  ])('%s', (name, cap, ecap, records, count, iotlb) => {
    const board = new Board({ personality: vtdPersonalities[name] })
    expect(board.read(0x00)).toBe(0x10)
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
})

describe('reset values and write masks (A.1)', () => {
  // Offset, value after reset, and what is read after all ones were written.
  test.each([
    ['VER is read-only', 0x00, 0x10, 0x10],
    ['GCMD reads 0', 0x18, 0, 0],
    ['GSTS is read-only', 0x1c, 0, 0],
    ['RTADDR low', 0x20, 0, 0xfffffc00],
    ['RTADDR high', 0x24, 0, 0xffffffff],
    ['CCMD low: the source id is write-only', 0x28, 0, 0x0000ffff],
    ['FSTS has nothing to clear', 0x34, 0, 0],
    ['FECTL: IM', 0x38, 0x80000000, 0x80000000],
    ['FEADDR 31:2', 0x40, 0, 0xfffffffc],
    ['IQH is read-only', 0x80, 0, 0],
    ['IQT 18:4', 0x88, 0, 0x7fff0],
    ['IQA low: address and size', 0x90, 0, 0xfffff007],
    ['ICS has nothing to clear', 0x9c, 0, 0],
    ['IECTL: IM', 0xa0, 0x80000000, 0x80000000],
    ['IEADDR 31:2', 0xa8, 0, 0xfffffffc],
    ['IVA is write-only', 0xf0, 0, 0],
    ['an offset without a register', 0x60, 0, 0],
  ])('%s', (_name, offset, reset, written) => {
    const board = new Board()
    expect(board.read(offset)).toBe(reset)
    board.write(offset, offset === 0x18 ? 0 : 0xffffffff)
    expect(board.read(offset)).toBe(written)
  })

  test('an access that is not aligned, or behind the block, reads all ones', () => {
    const board = new Board()
    expect(board.read(0x02)).toBe(0xffffffff)
    expect(board.read(0x1000)).toBe(0xffffffff)
  })

  test('writing IQA sets head and tail to 0', () => {
    const board = new Board()
    board.write(0x88, 0x40)
    board.write64(0x90, 0x30000n)
    expect(board.read64(0x88)).toBe(0n)
  })
})

describe('GCMD and GSTS (A.1)', () => {
  test('a command shows in the status only after it completed', () => {
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

  test('RTPS drops while SRTP runs and comes back', () => {
    const board = new Board()
    board.write(0x18, 0x40000000)
    board.until(0x1c, 0x40000000, 0x40000000)
    board.write(0x18, 0x40000000)
    expect(board.read(0x1c)).toBe(0)
    board.until(0x1c, 0x40000000, 0x40000000)
  })

  test('RTADDR counts from SRTP on, not from its own write', () => {
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

  test('translation off: DMA passes as it is; off again: it passes again', () => {
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

  test('a unit with RWBF shows WBFS while the write buffer is flushed; one without ignores WBF', () => {
    const { qemu48 } = vtdPersonalities
    const buffered = {
      ...qemu48,
      capLow: qemu48.capLow | 0x10,
      capabilities: { ...qemu48.capabilities, writeBufferFlush: true },
    }
    const board = new Board({ personality: buffered })
    board.write(0x18, 0x08000000)
    expect(board.read(0x1c)).toBe(0x08000000)
    board.until(0x1c, 0x08000000, 0)
    const other = new Board()
    other.write(0x18, 0x08000000)
    expect(other.read(0x1c)).toBe(0)
  })
})

describe('interrupt messages of devices (A.2, interrupt window)', () => {
  test('an aligned 4-byte write into 0xFEExxxxx is a message and is not translated, with translation off and on', () => {
    const board = new Board()
    const device = board.device()
    for (const on of [false, true]) {
      if (on) board.turnOn()
      expect(device.write(0xfee00000, Uint8Array.of(0x41, 0, 0, 0))).toBe(1)
      expect(board.machine.interrupts.received[0x41]).toBe(on ? 2 : 1)
    }
    expect(board.faults()).toEqual([])
  })

  test('anything else in the window goes nowhere, without a fault', () => {
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

test('pass-through: the address stands as it is, also above 4 GiB, whatever the table pointer says (A.2)', () => {
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

test('a device behind a conventional bridge is looked up under the bridge (bus below it, function 0)', () => {
  const board = new Board()
  const bus = board.machine.pci.addBridge(0, 0x20, 'conventional')
  board.machine.pci.configWrite(0x20, 4, 2, 4)
  board.turnOn()
  const device = board.device(8, bus)
  expect(device.get(IOVA)).toBe(-1n)
  expect(board.faults()).toMatchObject([{ reason: 1, requester: bus << 8 }])
})
