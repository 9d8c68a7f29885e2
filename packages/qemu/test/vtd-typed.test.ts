/**
 * QEMU's VT-d unit with tables whose words are typed by hand from the facts A.1, A.2 and A.5: it shows what QEMU does, without any
 * code of ours that encodes or programs. Offsets and words are those of the specification's legacy mode.
 */
import { expect } from 'vitest'
import { edu, openEdu, QEMU_VTD_BASE as UNIT, QemuMachine, setMessage, vtd, type EduDriver } from '../src/index.ts'
import { qemuPath, qemuTest } from './qemu.ts'

/** Bytes that a device can have seen nowhere else. */
const SECRET = Uint8Array.from('the bytes behind the table', (letter) => letter.charCodeAt(0))
const LENGTH = SECRET.length
/** 0x4020_3000: entry 1 of the level-3 table, 1 of level 2, 3 of level 1. */
const IOVA = 0x4020_3000

interface Bench {
  readonly board: QemuMachine
  readonly device: EduDriver
  /** What the device at 00:03.0 finds at `iova`: fetched, and carried to a page that is always mapped at 0x4020_4000. */
  seen(iova: number): Uint8Array
  /** The fault record (upper word, page address), cleared; null without one. */
  fault(): { high: bigint; page: bigint } | null
  /** Queues a descriptor and a wait for it; true when the wait's word arrived. */
  invalidate(low: bigint, high: bigint): boolean
}

function bench(): Bench & Disposable {
  const board = new QemuMachine({
    qemu: qemuPath,
    devices: [vtd({ interrupts: true }), edu(3)],
    interruptCounters: 0x18_0000,
  })
  const { memory, mmio } = board
  const device = openEdu(board.pci, mmio, 0x18, 0xe000_0000)
  memory.write(0x20_0000, SECRET)
  // Root entry of bus 0, context entry of 00:03.0 (P; domain 5, AW 1), then one table of each level.
  memory.writeU64(0x10_0000, 0x10_1001n)
  memory.writeU64(0x10_1180, 0x10_2001n)
  memory.writeU64(0x10_1188, 0x501n)
  memory.writeU64(0x10_2008, 0x10_3003n)
  memory.writeU64(0x10_3008, 0x10_4003n)
  memory.writeU64(0x10_4018, 0x20_0003n)
  memory.writeU64(0x10_4020, 0x30_0003n)
  // Queue: tail 0, address with QS 0, QIE; root: RTADDR, SRTP; then TE. Each status bit is waited for by its read.
  mmio.write64(UNIT + 0x88, 0n)
  mmio.write64(UNIT + 0x90, 0x10_5000n)
  mmio.write32(UNIT + 0x18, 0x0400_0000)
  expect(mmio.read32(UNIT + 0x1c)).toBe(0x0400_0000)
  mmio.write64(UNIT + 0x20, 0x10_0000n)
  mmio.write32(UNIT + 0x18, 0x4400_0000)
  expect(mmio.read32(UNIT + 0x1c)).toBe(0x4400_0000)
  let tail = 0
  const result = {
    board,
    device,
    seen(iova: number) {
      memory.fill(0x30_0000, 0xee, LENGTH)
      expect(device.fetch(0, iova, 0, LENGTH)).toBe(0)
      expect(device.store(0, 0x4020_4000, 0, LENGTH)).toBe(0)
      return memory.read(0x30_0000, LENGTH)
    },
    fault() {
      if ((mmio.read32(UNIT + 0x34) & 2) === 0) return null
      const page = mmio.read64(UNIT + 0x220)
      const high = mmio.read64(UNIT + 0x228)
      mmio.write64(UNIT + 0x228, 1n << 63n)
      // Bits 59:40, a PASID, mean nothing while PP is 0.
      return { high: high & ~(0xf_ffffn << 40n), page }
    },
    invalidate(low: bigint, high: bigint) {
      const slot = 0x10_5000 + (tail & 0xff0)
      memory.writeU64(slot, low)
      memory.writeU64(slot + 8, high)
      // Wait: SW, data 0x600d, address 0x10_6000.
      memory.writeU64(slot + 16, 0x600d_0000_0025n)
      memory.writeU64(slot + 24, 0x10_6000n)
      memory.writeU32(0x10_6000, 0)
      tail = (tail + 32) & 0xfff
      mmio.write64(UNIT + 0x88, BigInt(tail))
      return memory.readU32(0x10_6000) === 0x600d
    },
    [Symbol.dispose]: () => board[Symbol.dispose](),
  }
  // Global context and IOTLB invalidation, then translation.
  expect(result.invalidate(0x11n, 0n)).toBe(true)
  expect(result.invalidate(0x12n, 0n)).toBe(true)
  mmio.write32(UNIT + 0x18, 0x8400_0000)
  expect(mmio.read32(UNIT + 0x1c)).toBe(0xc400_0000)
  return result
}

const ZEROS = new Uint8Array(LENGTH)

qemuTest(
  'the unit says what a 39-bit QEMU says: CAP, ECAP without interrupt remapping, reset status (facts A.1)',
  () => {
    using board = new QemuMachine({ qemu: qemuPath, devices: [vtd()] })
    const { mmio } = board
    expect([mmio.read32(UNIT), mmio.read64(UNIT + 8), mmio.read64(UNIT + 0x10) & 0x4fn]).toEqual([
      0x10,
      0xd2_008c_2226_0206n,
      0x42n,
    ])
    expect([mmio.read32(UNIT + 0x1c), mmio.read32(UNIT + 0x34), mmio.read32(UNIT + 0x38)]).toEqual([0, 0, 0x8000_0000])
  },
)

qemuTest('a mapped page is read and written through three levels (facts A.2)', () => {
  using b = bench()
  expect(b.seen(IOVA)).toEqual(SECRET)
  expect(b.device.store(0, IOVA + 0x801, 0, LENGTH)).toBe(0)
  expect(b.board.memory.read(0x20_0800, LENGTH + 2)).toEqual(Uint8Array.of(0, ...SECRET, 0))
  expect(b.fault()).toBeNull()
})

qemuTest(
  'an unmapped page is seen as zeros, and the record has reason 6, the page, and the source (facts A.3, A.4)',
  () => {
    using b = bench()
    expect(b.seen(IOVA + 0x5123)).toEqual(ZEROS)
    // F, T (read), reason 6, source 00:03.0.
    expect(b.fault()).toEqual({ high: 0xc000_0006_0000_0018n, page: 0x4020_8000n })
  },
)

qemuTest('a page without W refuses a write with reason 5 and is still read', () => {
  using b = bench()
  b.board.memory.writeU64(0x10_4028, 0x20_1001n)
  expect(b.device.store(0, 0x4020_5000, 0, LENGTH)).toBe(0)
  expect(b.fault()).toEqual({ high: 0x8000_0005_0000_0018n, page: 0x4020_5000n })
  expect(b.board.memory.read(0x20_1000, LENGTH)).toEqual(ZEROS)
})

qemuTest('an entry that was removed serves until its page is invalidated, and then faults (facts A.5)', () => {
  using b = bench()
  expect(b.seen(IOVA)).toEqual(SECRET)
  b.board.memory.writeU64(0x10_4018, 0n)
  expect(b.seen(IOVA)).toEqual(SECRET)
  // A page-selective invalidation of its neighbour leaves it.
  expect(b.invalidate(0x5_0032n, 0x4020_2000n)).toBe(true)
  expect(b.seen(IOVA)).toEqual(SECRET)
  expect(b.fault()).toBeNull()
  expect(b.invalidate(0x5_0032n, 0x4020_3000n)).toBe(true)
  expect(b.seen(IOVA)).toEqual(ZEROS)
  expect(b.fault()?.high).toBe(0xc000_0006_0000_0018n)
})

qemuTest(
  'a context entry that was removed serves until contexts and translations are invalidated; then reason 2',
  () => {
    using b = bench()
    expect(b.seen(IOVA)).toEqual(SECRET)
    b.board.memory.writeU64(0x10_1180, 0n)
    expect(b.seen(IOVA)).toEqual(SECRET)
    expect(b.invalidate(0x11n, 0n)).toBe(true)
    expect(b.invalidate(0x12n, 0n)).toBe(true)
    expect(b.device.fetch(0, IOVA, 0, LENGTH)).toBe(0)
    expect(b.fault()).toEqual({ high: 0xc000_0002_0000_0018n, page: 0x4020_3000n })
  },
)

qemuTest('a bad descriptor stops the queue: IQE, the head stays (facts A.5)', () => {
  using b = bench()
  expect(b.invalidate(0xen, 0n)).toBe(false)
  const { mmio } = b.board
  expect(mmio.read32(UNIT + 0x34)).toBe(0x10)
  expect(mmio.read32(UNIT + 0x80)).toBe(0x40)
})

qemuTest(
  'a remapped interrupt arrives as the vector of its entry; one whose entry names another source does not',
  () => {
    using b = bench()
    const { memory, mmio, pci } = b.board
    // Entries 3 and 4: P, vectors 0x71 and 0x72; source 00:03.0 and 00:04.0, SVT 1.
    memory.writeU64(0x10_7030, 0x71_0001n)
    memory.writeU64(0x10_7038, 0x4_0018n)
    memory.writeU64(0x10_7040, 0x72_0001n)
    memory.writeU64(0x10_7048, 0x4_0020n)
    // 256 entries; SIRTP, a global invalidation of interrupt entries, IRE. TE and QIE stay.
    mmio.write64(UNIT + 0xb8, 0x10_7007n)
    mmio.write32(UNIT + 0x18, 0x8500_0000)
    expect(mmio.read32(UNIT + 0x1c)).toBe(0xc500_0000)
    expect(b.invalidate(0x4n, 0n)).toBe(true)
    mmio.write32(UNIT + 0x18, 0x8600_0000)
    expect(mmio.read32(UNIT + 0x1c)).toBe(0xc700_0000)
    // Remappable format, handles 4 and 3.
    for (const addressLow of [0xfee0_0090, 0xfee0_0070]) {
      setMessage(pci, 0x18, { addressLow, addressHigh: 0, data: 0 })
      b.device.interrupt(1)
    }
    for (let looks = 0; b.board.interrupts(0x71) === 0 && looks < 100_000; looks++);
    expect([b.board.interrupts(0x71), b.board.interrupts(0x72)]).toEqual([1, 0])
  },
)
