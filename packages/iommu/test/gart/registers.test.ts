import { describe, expect, test } from 'vitest'
import { GART_APERTURE, gartPersonalities } from '../../src/hardware.ts'
import { gart } from '../../src/spec.ts'
import { APERTURE, BASE, Board, CACHE, CONTROL, PAGE_A, TABLE_BASE, TO_A } from './board.ts'

describe('configuration registers', () => {
  test('function 3 of device 24 + n on bus 0: AMD host bridges [gart.config.function]', () => {
    const board = new Board({ nodes: 2 })
    expect(board.machine.pci.functions().map(({ bdf }) => bdf)).toEqual([0xc3, 0xcb])
    for (const node of [0, 1]) {
      expect(board.read(0x00, node)).toBe(0x1103_1022)
      expect(board.read(0x08, node)).toBe(0x0600_0000)
      expect(board.read(0x0e, node, 1)).toBe(0x80)
    }
    expect(board.machine.pci.configRead(0xd3, 0, 4)).toBe(0xffff_ffff)
    const other = new Board({ personality: gartPersonalities.family10h })
    expect(other.read(0x00)).toBe(0x1203_1022)
  })

  test.each([
    ['F3x40', 0x40, 0x0000_0400],
    ['F3x90', CONTROL, 0x0000_007f],
    ['F3x94', BASE, 0x0000_7fff],
    ['F3x98', TABLE_BASE, 0xffff_fff0],
  ])('%s: only its fields can be written [gart.control.mask]', (_name, register, written) => {
    const board = new Board()
    board.write(register, 0xffff_ffff)
    expect(board.read(register)).toBe(written)
    board.write(register, 0)
    expect(board.read(register)).toBe(0)
  })

  test('bytes and halves of a register are written alone', () => {
    const board = new Board()
    board.write(TABLE_BASE, 0x1234_5670)
    board.write(TABLE_BASE + 1, 0xab, 0, 1)
    board.write(TABLE_BASE + 2, 0xcdef, 0, 2)
    expect(board.read(TABLE_BASE)).toBe(0xcdef_ab70)
    board.write(CACHE, 1, 0, 1)
    expect(board.read(CACHE)).toBe(1)
  })

  test('firmware places an aperture of 64 MiB below 4 GiB, where there is neither RAM nor a BAR [gart.driver.aperture]', () => {
    const board = new Board()
    expect([board.read(CONTROL), board.read(BASE), board.read(TABLE_BASE)]).toEqual([0x02, 0x60, 0])
    expect(GART_APERTURE).toBe(0x60 * 2 ** 25)
    expect(GART_APERTURE).toBeGreaterThanOrEqual(3 * 2 ** 30)
    expect(GART_APERTURE + 512 * 2 ** 20).toBeLessThanOrEqual(0xe000_0000)
  })

  test('reset loses every register: nothing is translated [gart.reset.registers]', () => {
    const board = new Board()
    board.entry(0, TO_A)
    board.turnOn(0x41)
    const device = board.device()
    expect(device.put(APERTURE, 1n)).toBe(2)
    board.write(CACHE, 1)
    board.gart.suspend()
    expect([CONTROL, BASE, TABLE_BASE, CACHE].map((register) => board.read(register))).toEqual([0, 0, 0, 0])
    expect(device.put(APERTURE, 2n)).toBe(-2)
    expect(board.load(PAGE_A)).toBe(1n)
    board.elapse(5000)
    board.turnOn()
    expect(device.put(APERTURE, 3n)).toBe(2)
  })

  test('nodes are 1 to 8', () => {
    expect(() => new Board({ nodes: 0 })).toThrow('GART nodes')
    expect(() => new Board({ nodes: 9 })).toThrow('is not between 1 and 8')
    expect(() => new Board({ nodes: 1.5 })).toThrow('GART nodes')
    expect(() => new Board({ nodes: 2, nodeOfBus: () => 2 })).toThrow('GART node')
  })
})

describe('the facts as data, against words typed by hand', () => {
  test.each([
    [0x00, 8192],
    [0x02, 16384],
    [0x04, 32768],
    [0x06, 65536],
    [0x08, 131072],
    [0x0a, 262144],
    [0x0c, 524288],
    [0x0e, 0],
  ])('F3x90 = %i: pages of the aperture [gart.control.size, gart.control.order-7]', (control, pages) => {
    expect(gart.aperturePages(control)).toBe(pages)
    expect(gart.aperturePages(control | 0x71)).toBe(pages)
  })

  test('F3x94 and F3x98 to addresses [gart.base.address, gart.table.address]', () => {
    expect(gart.apertureFirstPage(0, 0x0060)).toBe(0xc0000)
    expect(gart.apertureFirstPage(0, 0x7fff)).toBe(0xfffe000)
    expect(gart.tableFrame(0x0000_1000)).toBe(0x100)
    expect(gart.tableFrame(0xffff_fff0 | 0)).toBe(0xfff_ffff)
  })

  test.each([
    [0x0000_0000, 0x0000_0003],
    [0x0001_2345, 0x1234_5003],
    [0x000f_ffff, 0xffff_f003],
    [0x0010_0000, 0x0000_0013],
    [0x0fff_ffff, 0xffff_fff3],
    [0x0ab1_2345, 0x1234_5ab3],
  ])('frame %i: the entry that leads there, valid and coherent [gart.pte.address]', (mfn, entry) => {
    expect(gart.entryOf(mfn, 3) >>> 0).toBe(entry)
    expect(gart.frameOf(entry | 0)).toBe(mfn)
  })
})
