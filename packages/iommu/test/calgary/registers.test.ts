import { describe, expect, test } from 'vitest'
import { CALGARY_BASE, calgaryPersonalities } from '../../src/hardware.ts'
import { calgary } from '../../src/spec.ts'
import { Board, PAGE_B } from './board.ts'

const { calioc2 } = calgaryPersonalities
const BRIDGES = [0, 1, 2, 3]

describe('the register block', () => {
  test('what the CPU reads and writes is the other way round [calgary.registers.big-endian]', () => {
    const { machine } = new Board()
    // CONFIG_RW of bridge 0 = 0x21100000: bytes 21 10 00 00.
    machine.mmio.write32(0xd0008160, 0x00001021)
    expect(machine.mmio.read32(0xd0008160)).toBe(0x00001021)
    // TAR0 = 0x00000001_23450007: bytes 00 00 00 01 23 45 00 07, in one 64-bit access.
    machine.mmio.write64(0xd0000580, 0x0700452301000000n)
    expect(machine.mmio.read64(0xd0000580)).toBe(0x0700452301000000n)
    expect([machine.mmio.read32(0xd0000580), machine.mmio.read32(0xd0000584)]).toEqual([0x01000000, 0x07004523])
  })

  test('1 MiB; what has no name reads 0 and ignores writes [calgary.registers.block]', () => {
    const board = new Board()
    for (const offset of [0, 0x104, 0x578, 0x5a0, 0x4878, 0x8114, 0x8118, 0xc000, 0x80000, 0xffffc]) {
      board.set(offset, 0xffffffff)
      expect([offset, board.get(offset)]).toEqual([offset, 0])
    }
    expect(board.machine.mmio.claims(CALGARY_BASE + 0x100000)).toBe(false)
  })

  test('each bridge has its own at 8000, 9000, A000, B000, debug at 4000, 5000, 6000, 7000 [calgary.registers.bridges]', () => {
    const board = new Board()
    for (const bridge of BRIDGES) {
      board.set(0x8170 + bridge * 0x1000, 0x100 + bridge)
      board.set(0x4020 + bridge * 0x1000, 0x10000 * (bridge + 1))
    }
    for (const bridge of BRIDGES) {
      expect(board.get(0x8170 + bridge * 0x1000)).toBe(0x100 + bridge)
      expect(board.get(0x4020 + bridge * 0x1000)).toBe(0x10000 * (bridge + 1))
    }
  })

  test('reset values: all 0, but AER and the closed windows [calgary.registers.reset]', () => {
    const board = new Board({ personality: calioc2 })
    const others = [
      0x110, 0x120, 0x160, 0x170, 0x180, 0x1a0, 0x1b0, 0x1c0, 0x1d0, 0x220, 0x230, 0x240, 0x290, 0x2c0, 0x2d0, 0x2e0,
      0x800, 0x810, 0x840, 0x870, 0x8e0, 0xcb0, 0xda0, 0xda8, 0xdb0,
    ]
    for (const bridge of BRIDGES) {
      const at = 0x8000 + bridge * 0x1000
      expect(others.filter((offset) => board.get(at + offset) !== 0)).toEqual([])
      expect([0x200, 0x190, 0x2b0].map((offset) => board.get(at + offset))).toEqual([
        0xffffffff, 0xfff00000, 0xfff00000,
      ])
      expect([board.get64(0x580 + 8 * bridge), board.get(0x4020 + 0x1000 * bridge)]).toEqual([0n, 0])
    }
    expect(board.get64(0x108)).toBe(0n)
  })

  test('write masks: CONFIG_RW has its bits, windows whole MiB, CSR, PLSSR and split queues none', () => {
    const board = new Board()
    for (const offset of [0x8110, 0x8120, 0x8160, 0x8190, 0x81c0, 0x82b0, 0x82e0, 0x8200, 0x4870, 0x4874])
      board.set(offset, 0xffffffff)
    expect([0x8110, 0x8120, 0x8160, 0x8190, 0x81c0, 0x82b0, 0x82e0].map((offset) => board.get(offset))).toEqual([
      0, 0, 0x3d500000, 0xfff00000, 0xfff00000, 0xfff00000, 0xfff00000,
    ])
    expect(board.get64(0x4870)).toBe(0xffffffffffffffffn)
  })

  test('CCR keeps the timers of all bridges [calgary.ccr.timer]', () => {
    const board = new Board()
    board.set64(0x108, 0x000e_ee0e_0000_0000n | (0xen << 28n))
    expect(board.get64(0x108)).toBe(0x000e_ee0e_e000_0000n)
    const { timerShifts, timer2s } = calgary.Configuration
    expect(timerShifts.map((shift) => BigInt(timer2s) << BigInt(shift))).toEqual([
      0x0000_e000_0000_0000n,
      0x0000_0e00_0000_0000n,
      0x0000_00e0_0000_0000n,
      0x0000_0000_e000_0000n,
    ])
  })
})

describe('TAR', () => {
  test('0x580, 0x588, 0x590, 0x598; all 64 bits are kept [calgary.tar.offsets]', () => {
    const board = new Board()
    BRIDGES.forEach((bridge) => board.set64(0x580 + 8 * bridge, 0x8123_4567_89ab_cde0n + BigInt(bridge)))
    expect(BRIDGES.map((bridge) => board.get64(0x580 + 8 * bridge))).toEqual([
      0x8123_4567_89ab_cde0n,
      0x8123_4567_89ab_cde1n,
      0x8123_4567_89ab_cde2n,
      0x8123_4567_89ab_cde3n,
    ])
  })

  test('the lower half loads both: until then it is what it was [calgary.tar.offsets]', () => {
    const board = new Board()
    board.tar(0x1_2340_0000n)
    board.set(0x580, 0x5)
    expect(board.get64(0x580)).toBe(0x1_2340_0000n)
    board.set(0x584, 0x6780_0000)
    expect(board.get64(0x580)).toBe(0x5_6780_0000n)
  })
})

describe('CalIOC2', () => {
  test('what it has beside; Calgary has none of it [calgary.calioc2.registers]', () => {
    const board = new Board({ personality: calioc2 })
    const plain = new Board()
    for (const offset of [0x8da8, 0x8db0, 0x8290, 0x8800, 0x8810, 0x8870, 0x8cb0, 0x8da0]) {
      plain.set(offset, 0x20800000)
      board.set(offset, 0x20800000)
    }
    const values = (on: Board) => [0x8db0, 0x8290, 0x8800, 0x8810, 0x8870, 0x8cb0, 0x8da0].map((at) => on.get(at))
    expect(values(board)).toEqual([0x20800000, 0, 0, 0, 0, 0, 0])
    expect(board.get(0x8da8)).toBe(0x20000000)
    expect([...values(plain), plain.get(0x8da8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
    plain.set(0x8da8, 0x80000000)
    expect([plain.get(0x8da8), plain.get(0x8da0)]).toEqual([0, 0])
  })

  test('PCI ids [calgary.ids]', () => {
    expect([calgaryPersonalities.calgary.deviceId, calioc2.deviceId, calgary.IBM_VENDOR]).toEqual([
      0x2a1, 0x308, 0x1014,
    ])
    expect(calgary.BRIDGES_PER_CHIP).toBe(4)
  })
})

describe('writes are posted [calgary.registers.posted]', () => {
  test('they take effect in time, in order', () => {
    const board = new Board().ordinary()
    const device = board.device()
    const outcomes = () => [device.put(PAGE_B, 1n), device.put(0x1_0000_0000, 1n)]
    board.set(0x8160, 0)
    board.set(0x8160, 0x01000000)
    // Translated, without an entry for either.
    expect(outcomes()).toEqual([-1, -1])
    board.elapse(250)
    // Not translated, but no 64-bit addresses.
    expect(outcomes()).toEqual([1, -1])
  })

  test('a read of any register waits for all of them', () => {
    const board = new Board().ordinary()
    const device = board.device()
    board.set(0x8160, 0)
    board.get(0x108)
    expect([device.put(PAGE_B, 1n), device.put(0x1_0000_0000, 1n)]).toEqual([1, 1])
  })
})
