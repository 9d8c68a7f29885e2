/**
 * QEMU's AMD-Vi unit with tables whose words are typed by hand from the facts B.2 to B.5: it shows what QEMU does, without any code of
 * ours that encodes or programs. It translates; its event log is of no use (facts: never written, 7.2 and 10.0).
 */
import { expect } from 'vitest'
import { amdvi, edu, openEdu, QEMU_AMDVI_BASE as UNIT, QemuMachine, setMessage } from '../src/index.ts'
import { qemuPath, qemuTest } from './qemu.ts'

const SECRET = Uint8Array.from('the bytes behind the table', (letter) => letter.charCodeAt(0))
const LENGTH = SECRET.length
const ZEROS = new Uint8Array(LENGTH)
/** 0x4020_3000: entry 1 of the level-3 table, 1 of level 2, 3 of level 1. */
const IOVA = 0x4020_3000

function bench() {
  const board = new QemuMachine({
    qemu: qemuPath,
    devices: [amdvi({ interrupts: true }), edu(3)],
    interruptCounters: 0x18_0000,
  })
  const { memory, mmio } = board
  const device = openEdu(board.pci, mmio, 0x18, 0xe000_0000)
  memory.write(0x20_0000, SECRET)
  // Device table entry of 00:03.0: V, TV, mode 3, IR, IW; domain 5. Then PR, next level and IR, IW at each level.
  memory.writeU64(0x10_0308, 0x5n)
  memory.writeU64(0x10_0300, 0x6000_0000_0010_2603n)
  memory.writeU64(0x10_2008, 0x6000_0000_0010_3401n)
  memory.writeU64(0x10_3008, 0x6000_0000_0010_4201n)
  memory.writeU64(0x10_4018, 0x6000_0000_0020_0001n)
  memory.writeU64(0x10_4020, 0x6000_0000_0030_0001n)
  // One page of device table; command buffer and event log of 256 entries; EventLogEn, CmdBufEn, IommuEn.
  mmio.write64(UNIT, 0x10_0000n)
  mmio.write64(UNIT + 0x08, 0x0800_0000_0010_5000n)
  mmio.write64(UNIT + 0x10, 0x0800_0000_0010_6000n)
  mmio.write64(UNIT + 0x18, 0x1005n)
  let tail = 0
  return {
    board,
    device,
    /** What the device finds at `iova`: fetched, and carried to a page that is always mapped at 0x4020_4000. */
    seen(iova: number) {
      memory.fill(0x30_0000, 0xee, LENGTH)
      expect(device.fetch(0, iova, 0, LENGTH)).toBe(0)
      expect(device.store(0, 0x4020_4000, 0, LENGTH)).toBe(0)
      return memory.read(0x30_0000, LENGTH)
    },
    /** Queues a command and a COMPLETION_WAIT that stores; true when the store arrived. */
    command(low: bigint, high: bigint) {
      const slot = 0x10_5000 + tail
      memory.writeU64(slot, low)
      memory.writeU64(slot + 8, high)
      memory.writeU64(slot + 16, 0x1000_0000_0010_7001n)
      memory.writeU64(slot + 24, 0x600dn)
      memory.writeU64(0x10_7000, 0n)
      tail = (tail + 32) & 0xfff
      mmio.write64(UNIT + 0x2008, BigInt(tail))
      return memory.readU64(0x10_7000) === 0x600dn
    },
    [Symbol.dispose]: () => board[Symbol.dispose](),
  }
}

qemuTest('the unit says what it is: six levels, and both rings run once they are enabled (facts B.2)', () => {
  using b = bench()
  const { mmio } = b.board
  expect((mmio.read32(UNIT + 0x30) >>> 10) & 3).toBe(2)
  expect(mmio.read32(UNIT + 0x2020) & 0x18).toBe(0x18)
})

qemuTest('a mapped page is read and written through three levels (facts B.3, B.4)', () => {
  using b = bench()
  expect(b.seen(IOVA)).toEqual(SECRET)
  expect(b.device.store(0, IOVA + 0x801, 0, LENGTH)).toBe(0)
  expect(b.board.memory.read(0x20_0800, LENGTH + 2)).toEqual(Uint8Array.of(0, ...SECRET, 0))
})

qemuTest('an absent page reads as zeros; one without IW is not written (facts B.4)', () => {
  using b = bench()
  expect(b.seen(IOVA + 0x5000)).toEqual(ZEROS)
  b.board.memory.writeU64(0x10_4028, 0x2000_0000_0020_1001n)
  expect(b.device.store(0, 0x4020_5000, 0, LENGTH)).toBe(0)
  expect(b.board.memory.read(0x20_1000, LENGTH)).toEqual(ZEROS)
})

qemuTest('an entry that was removed serves until INVALIDATE_IOMMU_PAGES (facts B.5)', () => {
  using b = bench()
  expect(b.seen(IOVA)).toEqual(SECRET)
  b.board.memory.writeU64(0x10_4018, 0n)
  expect(b.seen(IOVA)).toEqual(SECRET)
  expect(b.command(0x3000_0005_0000_0000n, 0x4020_3000n)).toBe(true)
  expect(b.seen(IOVA)).toEqual(ZEROS)
})

qemuTest(
  'a remapped interrupt arrives as the vector of its entry; one whose entry does not remap does not (facts B.3, G)',
  () => {
    using b = bench()
    const { memory, pci } = b.board
    // IntCtl 2, 256 entries, IV. Entries 3 and 4: vectors 0x71 and 0x72; RemapEn, and not.
    memory.writeU64(0x10_0310, 0x2000_0000_0010_8011n)
    memory.writeU32(0x10_800c, 0x71_0001)
    memory.writeU32(0x10_8010, 0x72_0000)
    expect(b.command(0x2000_0000_0000_0018n, 0n)).toBe(true)
    expect(b.command(0x5000_0000_0000_0018n, 0n)).toBe(true)
    for (const data of [4, 3]) {
      setMessage(pci, 0x18, { addressLow: 0xfee0_0000, addressHigh: 0, data })
      b.device.interrupt(1)
    }
    for (let looks = 0; b.board.interrupts(0x71) === 0 && looks < 100_000; looks++);
    expect([b.board.interrupts(0x71), b.board.interrupts(0x72)]).toEqual([1, 0])
  },
)
