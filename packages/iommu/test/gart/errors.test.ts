import type { MmioDevice } from '@iospace/machine'
import { describe, expect, test } from 'vitest'
import { gartPersonalities } from '../../src/hardware.ts'
import { APERTURE, Board, CACHE, CONTROL, PAGE_A, TO_A } from './board.ts'

/** A register block that tells which registers were read: reading one has effects, as status registers have. */
class Witness implements MmioDevice {
  readonly reads: number[] = []
  read32(offset: number): number {
    this.reads.push(offset)
    return 0
  }
  write32(): void {}
}

const BLOCK = 0xf000_0000

function erratum(): { board: Board; witness: Witness; device: ReturnType<Board['device']> } {
  const board = new Board({ personality: gartPersonalities['k8-e156'] })
  const witness = new Witness()
  board.machine.mmio.map(BLOCK, 0x1000, witness)
  board.turnOn()
  return { board, witness, device: board.device() }
}

describe('erratum 156 [gart.erratum-156]', () => {
  test('a read of a page without a valid entry reaches the page that the entry names', () => {
    const { board, witness, device } = erratum()
    board.entry(0, 0xf0000000)
    expect(device.get(APERTURE + 0x123)).toBe(-1n)
    expect([witness.reads, board.read(CACHE), board.gart.nodes[0]!.errantReads]).toEqual([[0x120], 2, 1])
  })

  test('a write does not, nor does a valid entry', () => {
    const { board, witness, device } = erratum()
    board.entry(0, 0xf0000002)
    board.entry(1, 0xf0000003)
    expect([device.put(APERTURE, 1n), device.get(APERTURE + 0x1000)]).toEqual([-1, -2n])
    expect([witness.reads, board.gart.nodes[0]!.errantReads]).toEqual([[], 0])
  })

  test('with the entry at a page of RAM nothing comes of it: that is the workaround', () => {
    const { board, witness, device } = erratum()
    board.entry(0, 0x00200000)
    board.store(PAGE_A, 5n)
    expect([device.get(APERTURE), board.load(PAGE_A), witness.reads]).toEqual([-1n, 5n, []])
    expect(board.gart.nodes[0]!.errantReads).toBe(1)
  })

  test('what comes out of the GART does not go into it again', () => {
    const { board, device } = erratum()
    board.entry(0, 0xc0000000)
    expect([device.get(APERTURE), board.gart.nodes[0]!.errantReads]).toEqual([-1n, 1])
  })

  test('a table that cannot be read names no page', () => {
    const { board, witness, device } = erratum()
    board.write(0x98, 0xf0000000)
    expect([device.get(APERTURE), witness.reads, board.gart.nodes[0]!.errantReads]).toEqual([-1n, [], 0])
  })

  test('silicon without it sends no read', () => {
    const board = new Board()
    const witness = new Witness()
    board.machine.mmio.map(BLOCK, 0x1000, witness)
    board.entry(0, 0xf0000000)
    board.turnOn()
    expect([board.device().get(APERTURE), witness.reads]).toEqual([-1n, []])
  })
})

describe('the machine check of a failed walk', () => {
  const status = (board: Board) => [0x48, 0x4c, 0x50, 0x54].map((register) => board.read(register))

  test('status and address of the first, as a field log has them; then the overflow bit [gart.walk-error.machine-check]', () => {
    const board = new Board()
    board.turnOn()
    const device = board.device()
    expect(status(board)).toEqual([0, 0, 0, 0])
    device.get(APERTURE + 0x100c)
    // STATUS a40000000005001b
    expect(status(board)).toEqual([0x0005_001b, 0xa400_0000, 0xc000_1008, 0])
    device.put(APERTURE + 0x2000, 1n)
    expect(status(board)).toEqual([0x0005_001b, 0xe400_0000, 0xc000_1008, 0])
    for (const register of [0x48, 0x4c, 0x50, 0x54]) board.write(register, 0)
    device.put(APERTURE + 0x2000, 1n)
    expect(status(board)).toEqual([0x0005_001b, 0xa400_0000, 0xc000_2000, 0])
  })

  test('an address above 4 GiB', () => {
    const board = new Board()
    board.turnOn()
    board.write(0x94, 0x7fff)
    board.device().get(0xff_fe00_3000)
    expect(status(board)).toEqual([0x0005_001b, 0xa400_0000, 0xfe00_3000, 0xff])
  })

  test('it is raised only while F3x40 bit 10 is set, which it is not by itself [gart.walk-error.reporting]', () => {
    const board = new Board()
    board.entry(0, TO_A)
    board.turnOn()
    const node = board.gart.nodes[0]!
    let raised = 0
    node.onMachineCheck = () => raised++
    const device = board.device()
    device.get(APERTURE + 0x1000)
    expect([board.read(0x40), raised]).toEqual([0, 0])
    board.write(0x4c, 0)
    board.write(0x40, 0x400)
    device.get(APERTURE + 0x1000)
    device.get(APERTURE)
    expect([raised, board.read(0x4c)]).toEqual([1, 0xb400_0000])
    node.onMachineCheck = null
    device.get(APERTURE + 0x1000)
    expect(raised).toBe(1)
  })

  test('no other access leaves a trace there', () => {
    const board = new Board()
    board.entry(0, TO_A)
    board.turnOn()
    const device = board.device()
    device.get(APERTURE)
    device.get(0x1000)
    board.write(CONTROL, 0)
    device.get(APERTURE + 0x1000)
    expect([status(board), board.read(CACHE)]).toEqual([[0, 0, 0, 0], 0])
  })
})
