import { describe, expect, test } from 'vitest'
import { VtdHardware, VTD_BASE, vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, L4, PAGE_A } from './board.ts'

/** Primary fault logging (facts A.1, A.4). Eight records at 0x100 (real silicon), or one at 0x220 (QEMU). */
const SILICON = vtdPersonalities['sandybridge-ep']

function board(personality = SILICON): Board {
  const made = new Board({ personality })
  made.ordinary()
  made.store(L1, 0n)
  made.turnOn()
  return made
}

const event = (made: Board, masked = false): void => {
  made.write(0x3c, 0x60)
  made.write(0x40, 0xfee00000)
  if (!masked) made.write(0x38, 0)
}
const messages = (made: Board): number => made.machine.interrupts.received[0x60]!

test('a record: page address, requester, type, reason, F; FSTS.PPF and FRI [vtd.log.record]', () => {
  const made = board()
  const device = made.device()
  device.put(0x7fff_2345_6789n, 1n)
  expect(made.read64(0x100)).toBe(0x7fff_2345_6000n)
  expect(made.read64(0x108)).toBe(0x80000005_00000008n)
  expect(made.read(0x34)).toBe(0x2)
  device.get(0x3000)
  expect(made.read64(0x110)).toBe(0x3000n)
  expect(made.read64(0x118)).toBe(0xc0000006_00000008n)
  // FRI stays with the first record that is pending.
  expect(made.read(0x34)).toBe(0x2)
})

test('records are used in a circle, FRI tells the first after PPF was 0 [vtd.log.index]', () => {
  const made = board()
  const device = made.device()
  for (let i = 0; i < 11; i++) {
    device.get(i * 0x1000)
    expect(made.read(0x34)).toBe(0x2 | ((i % 8) << 8))
    expect(made.faults()).toMatchObject([{ address: BigInt(i * 0x1000) }])
  }
})

test('F clears by writing 1 to bit 127 and by nothing else; PPF follows the F bits and cannot be cleared in FSTS [vtd.log.ppf, vtd.register.frcd, vtd.register.fsts]', () => {
  const made = board()
  const device = made.device()
  device.get(0)
  device.get(0x1000)
  made.write(0x34, 0xffffffff)
  expect(made.read(0x34) & 2).toBe(2)
  made.write(0x100, 0xffffffff)
  made.write(0x10c, 0x7fffffff)
  expect(made.read(0x10c)).toBe(0xc0000006)
  made.write(0x10c, 0x80000000)
  expect([made.read(0x10c), made.read(0x34) & 2]).toEqual([0x40000006, 2])
  made.write(0x11c, 0x80000000)
  expect(made.read(0x34) & 2).toBe(0)
})

describe('overflow (A.4)', () => {
  test('the ninth fault of eight records is lost and sets PFO; while PFO is set nothing is recorded [vtd.log.overflow, vtd.log.overflow.recovery]', () => {
    const made = board()
    const device = made.device()
    for (let i = 0; i < 8; i++) device.get(i * 0x1000)
    expect(made.read(0x34)).toBe(0x2)
    device.get(0x9000)
    expect(made.read(0x34)).toBe(0x3)
    made.write(0x10c, 0x80000000)
    device.get(0xa000)
    expect(made.read(0x10c) >>> 31).toBe(0)
    made.write(0x34, 1)
    device.get(0xb000)
    expect(made.read64(0x100)).toBe(0xb000n)
    expect(made.read(0x34) & 3).toBe(2)
  })

  test('one record: the second fault sets PFO', () => {
    const made = board(vtdPersonalities.qemu48)
    const device = made.device()
    device.get(0)
    device.get(0x1000)
    expect([made.read(0x34), made.read64(0x220)]).toEqual([3, 0n])
  })

  test('with collapsing, a fault of a requester that has a record is dropped without PFO, another’s sets PFO [vtd.log.collapse]', () => {
    const made = new Board()
    made.machine.mmio.unmap(VTD_BASE)
    const unit = new VtdHardware(made.machine, vtdPersonalities.qemu48, { collapseFaults: true })
    made.machine.mmio.map(VTD_BASE, 0x1000, unit)
    made.machine.pci.translator = unit
    made.ordinary()
    made.turnOn()
    const [first, second] = [made.device(8), made.device(16)]
    first.get(0)
    first.get(0x1000)
    expect(made.read(0x34)).toBe(2)
    second.get(0)
    expect(made.read(0x34)).toBe(3)
  })
})

describe('fault event (A.4)', () => {
  test('sent once when PPF becomes 1; not again while a status bit is set [vtd.event.once]', () => {
    const made = board()
    event(made)
    const device = made.device()
    device.get(0)
    device.get(0x1000)
    expect(messages(made)).toBe(1)
    made.faults()
    device.get(0)
    expect(messages(made)).toBe(2)
  })

  test('masked it stays pending, and is sent when it is unmasked [vtd.event.masked]', () => {
    const made = board()
    event(made, true)
    made.device().get(0)
    expect([made.read(0x38), messages(made)]).toEqual([0xc0000000, 0])
    made.write(0x38, 0)
    expect([made.read(0x38), messages(made)]).toEqual([0, 1])
  })

  test('pending, it is dropped when every status bit is cleared [vtd.event.dropped]', () => {
    const made = board()
    event(made, true)
    made.device().get(0)
    made.faults()
    expect(made.read(0x38)).toBe(0x80000000)
    made.write(0x38, 0)
    expect(messages(made)).toBe(0)
  })

  test('to an address outside the interrupt window it is a write to memory [vtd.event.address]', () => {
    const made = board()
    event(made)
    made.write(0x40, PAGE_A)
    made.device().get(0)
    expect([messages(made), made.load(PAGE_A)]).toEqual([0, 0x60n])
  })

  test('to an address without RAM it is lost', () => {
    const made = board()
    event(made)
    made.write(0x40, 0x900000)
    made.device().get(0)
    expect([messages(made), made.read(0x38), made.read(0x34)]).toEqual([0, 0, 2])
  })
})

describe('FPD keeps qualified faults out of the log, and the DMA is blocked all the same [vtd.fault.qualified]', () => {
  const FPD = 2n
  test.each<[number, string, (b: Board) => void]>([
    [2, 'absent context entry', (b) => b.store(CONTEXT + 8 * 16, FPD)],
    [3, 'width code', (b) => b.context(8, BigInt(L4) | 1n | FPD, 0x103n)],
    [5, 'absent page', (b) => b.context(8, BigInt(L4) | 1n | FPD, 0x102n)],
    [7, 'table without RAM', (b) => (b.context(8, BigInt(L4) | 1n | FPD, 0x102n), b.store(L4, 0x900003n))],
    [0xb, 'reserved bits of the context entry', (b) => b.context(8, BigInt(L4) | 0x11n | FPD, 0x102n)],
    [
      0xc,
      'reserved bits of a page entry',
      (b) => (b.context(8, BigInt(L4) | 1n | FPD, 0x102n), b.store(L1, 0x4000000000000003n)),
    ],
    [0xe, 'interrupt window', (b) => (b.context(8, BigInt(L4) | 1n | FPD, 0x102n), b.store(L1, 0xfee00003n))],
  ])('%i, %s', (_reason, _name, change) => {
    const made = board()
    change(made)
    const device = made.device()
    // The second time the context comes from the cache where it is cached.
    expect([device.put(IOVA, 1n), device.put(IOVA, 1n)]).toEqual([-1, -1])
    expect([made.read(0x34), made.read(0x10c)]).toEqual([0, 0])
    expect(made.machine.clock.snapshot().dmaFault).toBe(2)
  })

  test('4, address beyond the width', () => {
    const made = board()
    made.context(8, BigInt(L4) | 1n | FPD, 0x102n)
    expect(made.device().put(1n << 60n, 1n)).toBe(-1)
    expect(made.read(0x34)).toBe(0)
  })

  test('the reasons before the context entry is read are always logged [vtd.fault.not-qualified]', () => {
    for (const change of [
      (b: Board) => b.store(0x10000, 0n),
      (b: Board) => b.store(0x10000, 0x900001n),
      (b: Board) => b.store(0x10000, BigInt(CONTEXT) | 3n),
    ]) {
      const made = board()
      made.context(8, BigInt(L4) | 1n | FPD, 0x102n)
      change(made)
      made.device().get(IOVA)
      expect(made.faults()).toHaveLength(1)
    }
  })

  test('of an absent context entry it counts too [vtd.fault.fpd-absent]', () => {
    const made = board()
    made.context(8, FPD, 0n)
    expect([made.device().get(IOVA), made.faults()]).toEqual([-1n, []])
  })

  test('of one function it says nothing about another', () => {
    const made = board()
    made.context(8, BigInt(L4) | 1n | FPD, 0x102n)
    made.store(CONTEXT + 16 * 16, BigInt(L4) | 1n, 0x102n)
    const [quiet, loud] = [made.device(8), made.device(16)]
    quiet.get(IOVA)
    loud.get(IOVA)
    quiet.get(IOVA)
    expect(made.faults()).toMatchObject([{ requester: 16 }])
  })
})

test('turning translation and remapping off makes record 0 the next one, one of them does not [vtd.log.rewind]', () => {
  const made = board()
  const device = made.device()
  device.get(0)
  made.faults()
  made.turnOff()
  made.turnOn()
  device.get(0x5000)
  expect([made.read(0x34), made.read64(0x100)]).toEqual([2, 0x5000n])
  made.faults()
  made.remapOn()
  made.turnOff()
  made.turnOn()
  device.get(0x6000)
  expect([made.read(0x34), made.read64(0x110)]).toEqual([0x102, 0x6000n])
})

test('a trace sink is told of each fault, recorded or not', () => {
  const made = board()
  const seen: unknown[] = []
  const nothing = () => {}
  made.machine.trace = {
    domain: nothing,
    device: nothing,
    hypercall: nothing,
    map: nothing,
    unmap: nothing,
    dma: nothing,
    fault: (_time, sbdf, write, ioAddress, reason) => seen.push({ sbdf, write, ioAddress, reason }),
  }
  made.device().put(0x1_0000_2004, 1n)
  expect(seen).toEqual([{ sbdf: 8, write: true, ioAddress: 0x1_0000_2004, reason: 5 }])
})
