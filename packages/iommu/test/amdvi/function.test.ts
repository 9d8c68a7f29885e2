import { Machine, PciFunction } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { type ConfigAccess, findAmdviUnit } from '../../src/driver.ts'
import { amdviPersonalities, installAmdvi, iommuModels } from '../../src/hardware.ts'
import { Board, IOVA, turn } from './board.ts'

/** The unit as a PCI function on the board (facts B.1): placed, found, and outside what it translates. */
const { hats6, qemu } = amdviPersonalities
const machine = () => new Machine({ memory: { lowFrames: 256, highFrames: 0, boardBytes: 1 << 16 }, seed: 1, turn })

class Plain extends PciFunction {
  constructor(classCode = 0x088000) {
    super({ vendorId: 0xf0f0, deviceId: 1, classCode, msi: true })
  }
  protected override onReset(): void {}
}

describe('place [amdvi.function.class]', () => {
  test('install puts it at 00:00.2, of class 08 06 00', () => {
    const board = machine()
    iommuModels['amdvi']!.install(board, 'hats6')
    expect([board.pci.configRead(2, 0, 2), board.pci.configRead(2, 8, 4) >>> 8]).toEqual([0x1022, 0x080600])
  })

  test('at the next slot where that is taken, or where it is told', () => {
    const board = machine()
    board.pci.add(0, 2, new Plain())
    board.pci.add(0, 3, new Plain())
    expect(installAmdvi(board, hats6).function.bdf).toBe(4)
    expect(installAmdvi(machine(), hats6, 0x08).function.bdf).toBe(8)
  })
})

describe('software finds it by configuration space [amdvi.function.class, amdvi.capability.block, amdvi.capability.base]', () => {
  test('wherever it is on bus 0: base of its registers, NpCache', () => {
    for (const [slot, personality, npCache] of [
      [2, hats6, false],
      [0xf8, qemu, true],
    ] as const) {
      const board = machine()
      installAmdvi(board, personality, slot)
      expect(findAmdviUnit(board.pci)).toMatchObject({ bdf: slot, base: 0xfed80000, npCache })
    }
  })

  test('its message by the MSI capability of the function', () => {
    const board = machine()
    installAmdvi(board, qemu)
    findAmdviUnit(board.pci)!.setMessage(0xfee01000, 0x4066)
    const at = board.pci.configRead(2, 0x34, 1)
    expect([
      board.pci.configRead(2, at, 1),
      board.pci.configRead(2, at + 2, 2) & 1,
      board.pci.configRead(2, at + 4, 4),
      board.pci.configRead(2, at + 8, 4),
      board.pci.configRead(2, at + 12, 2),
    ]).toEqual([5, 1, 0xfee01000, 0, 0x4066])
  })

  test('none: no function, one of the class without the capability, one behind a bridge', () => {
    const board = machine()
    board.pci.add(0, 2, new Plain(0x080600))
    const bus = board.pci.addBridge(0, 8, 'root-port')
    board.pci.add(bus, 0, new Plain(0x080600))
    expect(findAmdviUnit(board.pci)).toBeNull()
  })

  /** Configuration space of one function, 00:05.0, as 32-bit words by offset. */
  const space = (words: Record<number, number>): ConfigAccess => ({
    configRead: (bdf, offset, size) =>
      bdf !== 0x28 ? 2 ** (8 * size) - 1 : ((words[offset & ~3] ?? 0) >>> (8 * (offset & 3))) % 2 ** (8 * size),
    configWrite: () => {},
  })
  const words = { 0x08: 0x08060000, 0x34: 0x40, 0x40: 0x0c0b000f, 0x44: 0x00080001, 0x48: 0x1 }

  test('a base above 4 GiB', () => {
    expect(findAmdviUnit(space(words))).toMatchObject({ bdf: 0x28, base: 0x1_0008_0000, npCache: true })
  })

  test.each([
    ['another type of secure device', { 0x40: 0x0c08000f }],
    ['registers that firmware did not enable', { 0x44: 0x00080000 }],
    ['a list of capabilities that goes round', { 0x40: 0x00004005 }],
  ])('not %s', (_name, changes) => {
    expect(findAmdviUnit(space({ ...words, ...changes }))).toBeNull()
  })
})

describe('what it does itself [amdvi.function.message]', () => {
  test('its message arrives though the unit blocks everything of every requester, its own included', () => {
    const board = new Board()
    const vector = 0x61
    installed(board)
    for (let requester = 0; requester < 128; requester++) board.entry(requester, 3n, 0n, 1n)
    board.turnOn({ control: 0x8 })
    board.write(0x15c, 0xfee00000)
    board.write(0x164, vector)
    board.write(0x158, 0x10000)
    const device = board.device()
    expect([device.message(0x71), device.read(IOVA, 8)]).toEqual([-1, -1])
    const { received } = board.machine.interrupts
    expect([received[0x71], received[vector]]).toEqual([0, 1])
  })

  test('it has no bus mastering of its own: nothing of it reaches the unit as a request', () => {
    const board = new Board()
    installed(board)
    board.turnOn()
    const buffer = board.machine.memory.boardMemory(8)
    expect([board.unit.function.dmaWrite(0, IOVA, buffer, 8), board.events()]).toEqual([-3, []])
  })

  function installed(board: Board): void {
    board.machine.pci.add(0, 2, board.unit.function)
  }
})
