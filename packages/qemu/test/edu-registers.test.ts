/** The edu device of our board and QEMU's own, register by register: what QEMU answers is what ours was made after. */
import { expect, test } from 'vitest'
import { EDU_BAR, openBoard, type Board, type BoardName } from './boards/index.ts'
import { qemuTest } from './qemu.ts'

const boards = ['qemu48', 'ours48'] as const satisfies readonly BoardName[]
const ALL_ONES = 0xffff_ffff_ffff_ffffn
/** More than enough for a factorial or a transfer. */
const LOOKS = 100_000

/** Looks at `offset` until none of `bits` is set. */
function until({ mmio }: Board, offset: number, bits: number): void {
  for (let looks = 0; (mmio.read32(EDU_BAR + offset) & bits) !== 0; looks++)
    if (looks === LOOKS) throw new Error(`bits ${bits} of ${offset.toString(16)} stay set`)
}

for (const name of boards) {
  const rule = name.startsWith('qemu') ? qemuTest : test
  const rules = (title: string, body: (board: Board) => void) =>
    rule(`${name}: ${title}`, () => {
      using board = openBoard(name)
      body(board)
    })

  rules('configuration: ids, revision, class', ({ pci }) => {
    expect(pci.configRead(0x18, 0, 4)).toBe(0x11e8_1234)
    expect(pci.configRead(0x18, 8, 4)).toBe(0x00ff_0010)
  })

  rules('identification, liveness, what is no register, accesses of 8 bytes below 0x80', ({ mmio }) => {
    expect(mmio.read32(EDU_BAR)).toBe(0x0100_00ed)
    mmio.write32(EDU_BAR + 4, 0x0f0f_1234)
    expect(mmio.read32(EDU_BAR + 4)).toBe(0xf0f0_edcb)
    for (const offset of [0x0c, 0x60, 0x64, 0x84, 0xa0, 0x4_0000])
      expect(mmio.read32(EDU_BAR + offset)).toBe(0xffff_ffff)
    mmio.write64(EDU_BAR + 8, 5n)
    expect([mmio.read64(EDU_BAR), mmio.read64(EDU_BAR + 8), mmio.read32(EDU_BAR + 0x20)]).toEqual([
      ALL_ONES,
      ALL_ONES,
      0,
    ])
  })

  rules('factorials, in 32 bits; the status register', (board) => {
    const { mmio } = board
    mmio.write32(EDU_BAR + 0x20, 0xffff_ffff)
    expect(mmio.read32(EDU_BAR + 0x20)).toBe(0x80)
    for (const [value, product] of [
      [0, 1],
      [5, 120],
      [13, 0x7328_cc00],
      [33, 0x8000_0000],
      [34, 0],
    ]) {
      mmio.write32(EDU_BAR + 8, value!)
      until(board, 0x20, 1)
      // The interrupt's bit follows the end of the computation.
      for (let looks = 0; mmio.read32(EDU_BAR + 0x24) === 0 && looks < LOOKS; looks++);
      expect([mmio.read32(EDU_BAR + 8), mmio.read32(EDU_BAR + 0x24)]).toEqual([product, 1])
      mmio.write32(EDU_BAR + 0x64, 1)
    }
    mmio.write32(EDU_BAR + 0x20, 0)
    expect([mmio.read32(EDU_BAR + 0x20), mmio.read32(EDU_BAR + 0x24)]).toEqual([0, 0])
  })

  rules('interrupt status: raised bits are ORed in, acknowledged ones go', ({ mmio }) => {
    mmio.write32(EDU_BAR + 0x60, 0x8000_0010)
    mmio.write32(EDU_BAR + 0x60, 0x3)
    expect(mmio.read32(EDU_BAR + 0x24)).toBe(0x8000_0013)
    mmio.write32(EDU_BAR + 0x64, 0x8000_0001)
    mmio.write32(EDU_BAR + 0x24, 0)
    expect(mmio.read32(EDU_BAR + 0x24)).toBe(0x12)
    mmio.write32(EDU_BAR + 0x64, 0xffff_ffff)
    expect(mmio.read32(EDU_BAR + 0x24)).toBe(0)
  })

  rules('DMA registers: 8 bytes, 4 written ones clear the others, a command without bit 0 is not written', (board) => {
    const { mmio, memory } = board
    for (const offset of [0x80, 0x88, 0x90]) {
      mmio.write64(EDU_BAR + offset, 0x1122_3344_5566_7788n)
      expect([mmio.read64(EDU_BAR + offset), mmio.read32(EDU_BAR + offset)]).toEqual([
        0x1122_3344_5566_7788n,
        0x5566_7788,
      ])
      mmio.write32(EDU_BAR + offset + 4, 7)
      mmio.write32(EDU_BAR + offset, 0x99)
      expect(mmio.read64(EDU_BAR + offset)).toBe(0x99n)
    }
    mmio.write32(EDU_BAR + 0x98, 6)
    expect(mmio.read32(EDU_BAR + 0x98)).toBe(0)
    // The IOMMU is off: bus addresses are physical.
    memory.write(0x30_0000, Uint8Array.of(1, 2, 3, 4))
    mmio.write64(EDU_BAR + 0x80, 0x30_0000n)
    mmio.write64(EDU_BAR + 0x88, 0x4_0100n)
    mmio.write32(EDU_BAR + 0x90, 4)
    mmio.write32(EDU_BAR + 0x98, 5)
    until(board, 0x98, 1)
    expect([mmio.read32(EDU_BAR + 0x98), mmio.read32(EDU_BAR + 0x24)]).toEqual([4, 0x100])
    mmio.write32(EDU_BAR + 0x64, 0x100)
    mmio.write64(EDU_BAR + 0x80, 0x4_0101n)
    mmio.write64(EDU_BAR + 0x88, 0x30_1000n)
    mmio.write32(EDU_BAR + 0x90, 2)
    mmio.write32(EDU_BAR + 0x98, 3)
    until(board, 0x98, 1)
    expect([mmio.read32(EDU_BAR + 0x98), mmio.read32(EDU_BAR + 0x24)]).toEqual([2, 0])
    expect(memory.read(0x30_1000, 3)).toEqual(Uint8Array.of(2, 3, 0))
  })
}
