import { describe, expect, test } from 'vitest'
import { calgaryPersonalities } from '../../src/hardware.ts'
import {
  Board,
  DAC_DISABLE,
  IOVA,
  MCSR_ENABLE,
  MEM2_ENABLE,
  OTHER,
  PAGE_A,
  PAGE_B,
  SLOT_DISABLE,
  TABLE,
  TCE_ENABLE,
} from './board.ts'

const { calgary, calioc2 } = calgaryPersonalities
const ON = TCE_ENABLE | DAC_DISABLE | MCSR_ENABLE

describe('translated', () => {
  test('reads and writes reach the page of the entry [calgary.tce.format, calgary.config.tce-enable]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    expect(device.put(IOVA + 0x18, 77n)).toBe(2)
    expect([board.load(PAGE_A + 0x18), device.get(IOVA + 0x18)]).toEqual([77n, 77n])
  })

  test('a request across pages goes to each page’s frame, up to the first that refuses [calgary.tce.flat]', () => {
    const board = new Board().ordinary()
    board.entry(IOVA + 0x1000, BigInt(PAGE_B) | 3n)
    const device = board.device()
    const bytes = new Uint8Array(0x1002).fill(0xab)
    expect(device.write(IOVA + 0xffe, bytes)).toBe(2)
    expect([board.load(PAGE_A + 0xff8), board.load(PAGE_B + 0xff8)]).toEqual([
      0xabab_0000_0000_0000n,
      0xabab_abab_abab_ababn,
    ])
    expect(device.write(IOVA + 0x1ffe, bytes.subarray(0, 4))).toBe(-1)
    expect(board.load(PAGE_B + 0xff8)).toBe(0xabab_abab_abab_ababn)
    expect(board.csr()).not.toBe(0)
  })

  test('an entry for reading refuses a write, and the other way round [calgary.tce.rights]', () => {
    const board = new Board().ordinary()
    board.entry(IOVA, BigInt(PAGE_A) | 1n)
    board.entry(IOVA + 0x1000, BigInt(PAGE_B) | 2n)
    const device = board.device()
    expect([device.get(IOVA), device.put(IOVA, 1n)]).toEqual([0n, -1])
    expect([device.put(IOVA + 0x1000, 5n), device.get(IOVA + 0x1000)]).toEqual([2, -1n])
    expect([board.load(PAGE_A), board.load(PAGE_B)]).toEqual([0n, 5n])
  })

  test('a request of no length needs the right to read', () => {
    const board = new Board().ordinary()
    const device = board.device()
    expect([device.read(IOVA, 0), device.read(IOVA + 0x1000, 0)]).toEqual([2, -1])
  })

  test('an entry that leads to no RAM: nobody answers, cached or not', () => {
    const board = new Board().ordinary()
    board.entry(IOVA, 0x0000_7fff_f000_0003n)
    const device = board.device()
    expect([device.put(IOVA, 1n), device.get(IOVA), board.csr()]).toEqual([-2, -2n, 0])
  })

  test('a device that writes 64 bits across 4 GiB meets the end of the table [calgary.tar.reach]', () => {
    const board = new Board().ordinary()
    board.tar(BigInt(0x800000 - 0x800000) | 0x7n)
    const device = board.device()
    expect([device.put(0xfffffffc, 1n), device.put(0x1_0000_0000, 1n)]).toEqual([-1, -1])
  })
})

describe('untranslated', () => {
  test('without TCE_ENABLE requests pass as they are, 64-bit ones too [calgary.config.tce-enable]', () => {
    const board = new Board().ordinary()
    board.config(0)
    const device = board.device()
    expect([device.put(PAGE_B, 3n), device.put(0x1_0000_0008, 4n)]).toEqual([1, 1])
    expect([board.load(PAGE_B), board.load(0x1_0000_0008)]).toEqual([3n, 4n])
    expect([device.get(PAGE_B), device.put(0xf000_0000, 1n)]).toEqual([3n, -2])
  })

  test('with DAC_DISABLE alone 64-bit addresses are refused [calgary.config.dac-disable]', () => {
    const board = new Board().ordinary()
    board.config(DAC_DISABLE)
    const device = board.device()
    expect([device.put(PAGE_B, 3n), device.put(0x1_0000_0008, 4n), board.csr()]).toEqual([1, -1, 0])
    board.config(DAC_DISABLE | MCSR_ENABLE)
    expect([device.put(0x1_0000_0008, 4n), board.csr()]).toEqual([-1, 0x80010000])
    // Translated, they lie behind every table.
    board.config(TCE_ENABLE)
    expect(device.put(0x1_0000_0008, 4n)).toBe(-1)
  })

  test.each([
    [calgary, [2, 2, 1, 1]],
    [calioc2, [1, 1, 1, 1]],
  ])('below 1 MiB, $name [calgary.window.legacy]', (personality, outcomes) => {
    const board = new Board({ personality }).ordinary()
    for (const at of [0x5000, 0x9f000, 0xa0000, 0xff000]) board.entry(at, BigInt(PAGE_A) | 3n)
    const device = board.device()
    expect([0x5000, 0x9ff00, 0xa0000, 0xfff00].map((at) => device.put(at, 9n))).toEqual(outcomes)
    expect(board.load(0xa0000)).toBe(9n)
    expect(board.csr()).toBe(0)
  })

  test('MEM1: base and limit in whole MiB, for the bridge that has it; nothing of the board answers there [calgary.window.memory1]', () => {
    const board = new Board().ordinary()
    board.tar(BigInt(TABLE) | 1n)
    for (const at of [0x1ff000, 0x200000, 0x3ff000, 0x400000]) board.entry(at, BigInt(PAGE_A) | 3n)
    board.set(0x8190, 0x200000)
    board.set(0x81c0, 0x300000)
    expect(board.get(0x81a0)).toBe(0)
    const device = board.device()
    // RAM lies there on this board, so that one can see where the requests come out.
    expect([0x1ff000, 0x200000, 0x3ff000, 0x400000].map((at) => device.put(at + 0x800, 6n))).toEqual([2, 1, 1, 2])
    expect(board.load(0x200800)).toBe(6n)
    board.set(0x81a0, 1)
    board.get(0x8120)
    expect(device.put(0x200800, 6n)).toBe(2)
  })

  test('MEM2 is a window only with MEM2_ENABLE, above 4 GiB only without DAC_DISABLE [calgary.window.memory2, calgary.config.mem2-enable]', () => {
    const board = new Board().ordinary()
    board.set(0x82b0, 0)
    board.set(0x82c0, 1)
    board.set(0x82d0, 1)
    board.set(0x82e0, 0)
    const device = board.device()
    const outcomes = () => [0x1_0000_0000, 0x1_000f_fff8, 0x1_0010_0000].map((at) => device.put(at, 1n))
    expect(outcomes()).toEqual([-1, -1, -1])
    board.config(TCE_ENABLE | MEM2_ENABLE)
    expect(outcomes()).toEqual([1, 1, -1])
    board.config(TCE_ENABLE | MEM2_ENABLE | DAC_DISABLE)
    expect(outcomes()).toEqual([-1, -1, -1])
    board.set(0x82c0, 0)
    board.set(0x82b0, 0x200000)
    board.set(0x82d0, 0)
    board.set(0x82e0, 0x200000)
    board.get(0x8120)
    expect(device.put(0x200800, 6n)).toBe(1)
  })
})

describe('which bridge a request comes through', () => {
  test('each bus has the table of its bridge [calgary.isolation.bus, calgary.stuff.bus-range]', () => {
    const board = new Board().ordinary()
    const bus = board.bus()
    const [near, same, far] = [board.device(8), board.device(0x11), board.device(0, bus)]
    board.tar(BigInt(OTHER), 1)
    board.config(ON, 1)
    board.entry(IOVA, BigInt(PAGE_B) | 3n, OTHER)
    expect([near.put(IOVA, 1n), same.put(IOVA + 8, 2n), far.put(IOVA, 3n)]).toEqual([2, 2, 2])
    expect([board.load(PAGE_A), board.load(PAGE_A + 8), board.load(PAGE_B)]).toEqual([1n, 2n, 3n])
    // One bridge’s registers say nothing of another’s bus.
    board.config(SLOT_DISABLE, 1)
    expect([near.put(IOVA, 1n), far.put(IOVA, 1n)]).toEqual([2, -1])
  })

  test('a range of buses; a last bus of 0 means the first only; a bus that nobody leads to reaches nothing [calgary.stuff.bus-range]', () => {
    const board = new Board().ordinary()
    const buses = [board.bus(), board.bus(), board.bus()]
    const devices = buses.map((bus) => board.device(0, bus))
    const outcomes = () => devices.map((device) => device.put(PAGE_B, 1n))
    board.set(0x5020, 0x00010200)
    board.set(0x6020, 0x00f00000)
    board.set(0x7020, 0x00f00000)
    board.get(0x7020)
    expect(outcomes()).toEqual([1, 1, -2])
    board.set(0x5020, 0x00020000)
    board.get(0x5020)
    expect(outcomes()).toEqual([-2, 1, -2])
    // First and last reversed: no bus.
    board.set(0x5020, 0x00030100)
    board.get(0x5020)
    expect(outcomes()).toEqual([-2, -2, -2])
  })
})

describe('errors', () => {
  test('CSR: an error bit and the device number; PLSSR too; neither address nor direction [calgary.csr.error, calgary.errors.no-address]', () => {
    const board = new Board().ordinary()
    const device = board.device(0x6b)
    expect(device.put(IOVA + 0x1000, 1n)).toBe(-1)
    expect([board.csr(), board.get(0x8120)]).toEqual([0x800d0000, 0x80000000])
    expect(board.machine.interrupts.received.some((count) => count > 0)).toBe(false)
    // Nor does anything else of the bridge change.
    const before = Array.from({ length: 0x400 }, (_, i) => board.get(0x8000 + 4 * i))
    board.set(0x8110, 0)
    expect(board.csr()).toBe(0)
    device.get(IOVA + 0x7000)
    expect(Array.from({ length: 0x400 }, (_, i) => board.get(0x8000 + 4 * i))).toEqual(before)
  })

  test('the first error stays until 0 is written; other values do nothing [calgary.csr.first, calgary.csr.clear]', () => {
    const board = new Board().ordinary()
    const [first, second] = [board.device(0x08), board.device(0x10)]
    first.put(IOVA + 0x1000, 1n)
    second.put(IOVA + 0x1000, 1n)
    expect(board.csr()).toBe(0x80010000)
    board.set(0x8110, 0x80010000)
    board.set(0x8110, 0xffffffff)
    expect([board.csr(), board.get(0x8120)]).toEqual([0x80010000, 0x80000000])
    board.set(0x8110, 0)
    expect([board.csr(), board.get(0x8120)]).toEqual([0, 0])
    second.put(IOVA + 0x1000, 1n)
    expect(board.csr()).toBe(0x80020000)
  })

  test('only with MCSR_ENABLE; the request is refused anyway [calgary.config.mcsr-enable]', () => {
    const board = new Board().ordinary()
    board.config(TCE_ENABLE | DAC_DISABLE)
    expect([board.device().put(IOVA + 0x1000, 1n), board.csr()]).toEqual([-1, 0])
  })

  test('other requests of the bus go on; SLOT_DISABLE, all three bits of it, ends that for the whole bus [calgary.errors.isolate, calgary.config.slot-disable]', () => {
    const board = new Board().ordinary()
    const [bad, good] = [board.device(0x08), board.device(0x10)]
    bad.put(IOVA + 0x1000, 1n)
    expect(good.put(IOVA, 1n)).toBe(2)
    board.set(0x8110, 0)
    board.config(ON | 0x0c000000)
    expect(good.put(IOVA, 1n)).toBe(2)
    board.config(ON | SLOT_DISABLE)
    expect([good.put(IOVA, 2n), good.get(0xa0000), good.write(0xfee00000, new Uint8Array(4))]).toEqual([-1, -1n, -1])
    expect([board.csr(), board.load(PAGE_A)]).toEqual([0, 1n])
    board.config(ON)
    expect(good.put(IOVA, 3n)).toBe(2)
  })

  test('a trace is told of each, without a reason that the chip has not [calgary.errors.no-address]', () => {
    const board = new Board().ordinary()
    const told: unknown[][] = []
    const ignore = () => {}
    board.machine.trace = {
      domain: ignore,
      device: ignore,
      hypercall: ignore,
      map: ignore,
      unmap: ignore,
      dma: ignore,
      fault: (_time, ...rest) => void told.push(rest),
    }
    board.device().put(IOVA + 0x1008, 1n)
    expect(told).toEqual([[8, true, IOVA + 0x1008, 0]])
  })
})

describe('interrupt messages', () => {
  test('an aligned write of 4 bytes to 0xFEExxxxx passes; anything else there is an address like others [calgary.interrupts]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    const message = (at: number, length = 4) => device.write(at, new Uint8Array(length).fill(0x41))
    expect([message(0xfee00000), message(0xfeeffffc)]).toEqual([1, 1])
    expect(board.machine.interrupts.received[0x41]).toBe(2)
    expect([message(0xfee00002), message(0xfee00000, 8), device.read(0xfee00000, 4)]).toEqual([-1, -1, -1])
    board.config(0)
    expect([message(0xfee00000), message(0xfee00000, 8)]).toEqual([1, -2])
  })
})
