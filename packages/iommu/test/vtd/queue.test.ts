import { describe, expect, test } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, L2, L4, PAGE_A, QUEUE, STATUS } from './board.ts'
import { custom } from './personality.ts'

/** Queued and register-based invalidation (facts A.1, A.5). */
const IQE = 0x10

function board(personality = vtdPersonalities.qemu48): Board {
  const made = new Board({ personality })
  made.ordinary()
  made.store(PAGE_A, 0xaan)
  made.turnOn()
  return made
}

function queued(): Board {
  const made = board()
  made.queueOn()
  return made
}

/** True while the page is served from the cache although its entry is cleared. */
function stale(made: Board): () => boolean {
  const device = made.device()
  device.get(IOVA)
  made.store(L1, 0n)
  return () => device.get(IOVA) === 0xaan
}

const GLOBAL = 0x12n
const wait = (data: bigint, flags = 0x20n): bigint => (data << 32n) | flags | 5n

describe('completion is late [vtd.queue.order]', () => {
  test('after the tail write the cache is still in use; the wait tells when it no longer is', () => {
    const made = queued()
    const isStale = stale(made)
    made.queue(GLOBAL)
    made.queue(wait(0x1234n), BigInt(STATUS))
    made.ring()
    expect(isStale()).toBe(true)
    while (made.load(STATUS) === 0n) {
      expect(isStale()).toBe(true)
      made.elapse(40)
    }
    expect(isStale()).toBe(false)
    expect(made.load(STATUS)).toBe(0x1234n)
    expect(made.read64(0x80)).toBe(32n)
  })

  test('descriptors do nothing before the tail moves', () => {
    const made = queued()
    const isStale = stale(made)
    made.queue(GLOBAL)
    made.elapse(100000)
    expect(isStale()).toBe(true)
  })

  test('the status write is 4 bytes: its neighbours stay [vtd.queue.wait.status]', () => {
    const made = queued()
    made.store(STATUS, 0x1111111122222222n)
    made.queue(wait(0xffffffffn), BigInt(STATUS + 4))
    made.ring()
    made.elapse(2000)
    expect(made.load(STATUS)).toBe(0xffffffff22222222n)
  })

  test('a status address without RAM is ignored, the queue goes on', () => {
    const made = queued()
    made.queue(wait(1n), 0x900000n)
    made.queue(wait(1n), (1n << 60n) | BigInt(STATUS))
    made.queue(wait(2n), BigInt(STATUS))
    made.ring()
    made.elapse(2000)
    expect(made.load(STATUS)).toBe(2n)
  })

  test('a queue of one page wraps after 256 descriptors [vtd.queue.wrap]', () => {
    const made = queued()
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 100; i++) made.queue(wait(BigInt(round * 100 + i + 1)), BigInt(STATUS))
      made.ring()
      made.elapse(5000)
      expect(made.load(STATUS)).toBe(BigInt(round * 100 + 100))
      expect(made.read64(0x80)).toBe(BigInt(made.tail))
    }
    expect(made.tail).toBe((300 - 256) * 16)
  })

  test('QS = 1 makes a queue of two pages [vtd.queue.wrap]', () => {
    const made = board()
    made.write64(0x90, BigInt(QUEUE) | 1n)
    made.write(0x18, 0x84000000)
    made.until(0x1c, 0x04000000, 0x04000000)
    for (let i = 0; i < 300; i++) made.store(QUEUE + i * 16, wait(BigInt(i)), BigInt(STATUS + 0x1000))
    made.write(0x88, 300 * 16)
    made.elapse(10000)
    expect(made.load(STATUS + 0x1000)).toBe(299n)
    expect(made.read64(0x80)).toBe(4800n)
  })

  test('a tail that was set before QIE counts from then on (QEMU does so too) [vtd.queue.tail-before-enable]', () => {
    const made = board()
    made.store(QUEUE, wait(9n), BigInt(STATUS))
    made.write64(0x90, BigInt(QUEUE))
    made.write(0x88, 16)
    made.elapse(2000)
    expect(made.load(STATUS)).toBe(0n)
    made.write(0x18, 0x84000000)
    made.elapse(4000)
    expect(made.load(STATUS)).toBe(9n)
  })
})

describe('invalidation event [vtd.queue.wait.interrupt]', () => {
  const event = (made: Board) => {
    made.write(0xa4, 0x51)
    made.write(0xa8, 0xfee00000)
  }
  const waitInterrupt = (made: Board) => {
    made.queue(wait(0n, 0x10n))
    made.ring()
    made.elapse(2000)
  }

  test('a wait with IF sets ICS.IWC and sends the message; the next one only after IWC was cleared [vtd.register.ics]', () => {
    const made = queued()
    event(made)
    made.write(0xa0, 0)
    waitInterrupt(made)
    expect([made.read(0x9c), made.machine.interrupts.received[0x51]]).toEqual([1, 1])
    waitInterrupt(made)
    expect(made.machine.interrupts.received[0x51]).toBe(1)
    made.write(0x9c, 1)
    expect(made.read(0x9c)).toBe(0)
    waitInterrupt(made)
    expect(made.machine.interrupts.received[0x51]).toBe(2)
  })

  test('masked (IM, as after reset) it stays pending (IP) and is sent when unmasked', () => {
    const made = queued()
    event(made)
    waitInterrupt(made)
    expect([made.read(0xa0), made.machine.interrupts.received[0x51]]).toEqual([0xc0000000, 0])
    made.write(0xa0, 0)
    expect([made.read(0xa0), made.machine.interrupts.received[0x51]]).toEqual([0, 1])
  })

  test('a pending one is dropped when IWC is cleared', () => {
    const made = queued()
    event(made)
    waitInterrupt(made)
    made.write(0x9c, 1)
    made.write(0xa0, 0)
    expect(made.machine.interrupts.received[0x51]).toBe(0)
  })

  test('status write and interrupt go together', () => {
    const made = queued()
    event(made)
    made.write(0xa0, 0)
    made.queue(wait(3n, 0x30n), BigInt(STATUS))
    made.ring()
    made.elapse(2000)
    expect([made.load(STATUS), made.machine.interrupts.received[0x51]]).toEqual([3n, 1])
  })
})

describe('a bad descriptor stops the queue with FSTS.IQE [vtd.queue.error]', () => {
  // Name, the two quadwords, and IQEI.
  test.each<[string, bigint, bigint, number]>([
    ['type 0', 0n, 0n, 3],
    ['type 6 (PASID)', 6n, 0n, 3],
    ['type 15', 0xfn, 0n, 3],
    ['type 3 without ECAP.DT [vtd.queue.descriptor.device-tlb]', 3n, 0n, 3],
    ['interrupt entries: reserved bit 5 [vtd.queue.descriptor.interrupt]', 0x24n, 0n, 4],
    ['interrupt entries: reserved bit 26 [vtd.queue.descriptor.interrupt]', 0x4000004n, 0n, 4],
    ['interrupt entries: reserved bit 48 [vtd.queue.descriptor.interrupt]', 4n | (1n << 48n), 0n, 4],
    ['interrupt entries: upper quadword [vtd.queue.descriptor.interrupt]', 4n, 1n << 40n, 4],
    ['interrupt entries: IM 16 above MHMV 15 [vtd.queue.descriptor.interrupt]', 0x80000014n, 0n, 4],
    ['context: granularity 0 [vtd.queue.descriptor.context]', 0x01n, 0n, 4],
    ['context: reserved bit 6 [vtd.queue.descriptor.context]', 0x51n, 0n, 4],
    ['context: reserved bit 15 [vtd.queue.descriptor.context]', 0x8011n, 0n, 4],
    ['context: reserved bit 50 [vtd.queue.descriptor.context]', 0x11n | (1n << 50n), 0n, 4],
    ['context: upper quadword [vtd.queue.descriptor.context]', 0x11n, 1n, 4],
    ['IOTLB: granularity 0 [vtd.queue.descriptor.iotlb]', 0x02n, 0n, 4],
    ['IOTLB: reserved bit 8 [vtd.queue.descriptor.iotlb]', 0x112n, 0n, 4],
    ['IOTLB: reserved bit 32 [vtd.queue.descriptor.iotlb]', 0x12n | (1n << 32n), 0n, 4],
    ['IOTLB: reserved bit 7 of the upper quadword [vtd.queue.descriptor.iotlb]', 0x32n, 0x80n, 4],
    ['IOTLB: AM 19 above MAMV 18 [vtd.queue.descriptor.iotlb, vtd.invalidate.page.order]', 0x32n, 19n, 4],
    ['wait: reserved bit 8 [vtd.queue.descriptor.wait]', 0x125n, 0n, 4],
    ['wait: status address not aligned [vtd.queue.descriptor.wait]', 0x25n, 2n, 4],
    ['wait: PD (7), which needs page requests [vtd.queue.descriptor.wait]', 0xa5n, 0n, 4],
  ])('%s [vtd.queue.error.info]', (_name, low, high, info) => {
    const made = queued()
    const isStale = stale(made)
    made.queue(wait(1n), BigInt(STATUS))
    made.queue(low, high)
    made.queue(GLOBAL)
    made.queue(wait(2n), BigInt(STATUS))
    made.ring()
    made.elapse(5000)
    expect([made.read(0x34), made.read64(0xb0)]).toEqual([IQE, BigInt(info)])
    expect(made.read64(0x80)).toBe(16n)
    expect([made.load(STATUS), isStale()]).toEqual([1n, true])
  })

  test('a descriptor that cannot be read [vtd.queue.error.info]', () => {
    const made = board()
    made.write64(0x90, 0x900000n)
    made.write(0x18, 0x84000000)
    made.until(0x1c, 0x04000000, 0x04000000)
    made.write(0x88, 16)
    made.elapse(2000)
    expect([made.read(0x34), made.read64(0x80), made.read64(0xb0)]).toEqual([IQE, 0n, 2n])
  })

  test('a tail outside the queue [vtd.queue.error.info]', () => {
    const made = queued()
    made.write(0x88, 0x1000)
    made.elapse(5000)
    expect([made.read(0x34), made.read64(0x80), made.read64(0xb0)]).toEqual([IQE, 0n, 1n])
  })

  test('descriptors of 256 bits, which need scalable mode [vtd.queue.error.width]', () => {
    const made = board()
    made.write64(0x90, BigInt(QUEUE) | 0x800n)
    made.write(0x18, 0x84000000)
    made.until(0x1c, 0x04000000, 0x04000000)
    made.queue(GLOBAL)
    made.write(0x88, 32)
    made.elapse(5000)
    expect([made.read(0x34), made.read64(0x80), made.read64(0xb0)]).toEqual([IQE, 0n, 5n])
  })

  test('type 4 without ECAP.IR [vtd.queue.descriptor.interrupt]', () => {
    const made = board(custom(vtdPersonalities.qemu48, { ecapLow: 0x00f00f42 }))
    made.queueOn()
    made.queue(4n)
    made.ring()
    made.elapse(5000)
    expect([made.read(0x34), made.read64(0xb0)]).toEqual([IQE, 3n])
  })

  test('a page-selective one without CAP.PSI, drained or not [vtd.invalidate.page.unsupported]', () => {
    for (const [low, high] of [
      [0x1_0032n, BigInt(IOVA)],
      [0x1_00f2n, BigInt(IOVA) | 0x40n],
    ] as const) {
      const made = board(custom(vtdPersonalities.qemu48, { capHigh: 0x00d2000c }))
      made.queueOn()
      made.queue(low, high)
      made.ring()
      made.elapse(5000)
      expect([made.read(0x34), made.read64(0xb0)]).toEqual([IQE, 4n])
    }
  })

  test('nothing is fetched until IQE is cleared; then the queue goes on from the repaired descriptor [vtd.queue.error.recovery]', () => {
    const made = queued()
    made.queue(0n)
    made.queue(wait(7n), BigInt(STATUS))
    made.ring()
    made.elapse(2000)
    made.store(QUEUE, wait(6n, 0n))
    made.ring()
    made.elapse(2000)
    expect(made.load(STATUS)).toBe(0n)
    made.write(0x34, IQE)
    made.elapse(2000)
    expect([made.load(STATUS), made.read(0x34), made.read64(0x80)]).toEqual([7n, 0, 32n])
  })

  test('cleared without a repair it stops again at the same descriptor', () => {
    const made = queued()
    made.queue(0n)
    made.ring()
    made.elapse(2000)
    made.write(0x34, IQE)
    made.elapse(2000)
    expect([made.read(0x34), made.read64(0x80)]).toEqual([IQE, 0n])
  })

  test('it is a fault event [vtd.event.once]', () => {
    const made = queued()
    made.write(0x3c, 0x52)
    made.write(0x40, 0xfee00000)
    made.write(0x38, 0)
    made.queue(0n)
    made.ring()
    made.elapse(2000)
    expect(made.machine.interrupts.received[0x52]).toBe(1)
  })
})

describe('queue off [vtd.queue.disable]', () => {
  test('QIE is cleared when the queue is empty, at once or when it has become so', () => {
    const made = queued()
    made.queue(wait(1n), BigInt(STATUS))
    made.ring()
    made.write(0x18, 0x80000000)
    made.until(0x1c, 0x04000000, 0)
    expect([made.load(STATUS), made.read64(0x80)]).toEqual([1n, 0n])
  })

  test('a queue that stopped at a bad descriptor stays on until it is repaired', () => {
    const made = queued()
    made.queue(0n)
    made.ring()
    made.elapse(2000)
    made.write(0x18, 0x80000000)
    made.elapse(100000)
    expect(made.read(0x1c) & 0x04000000).toBe(0x04000000)
    made.store(QUEUE, wait(1n, 0n))
    made.write(0x34, IQE)
    made.until(0x1c, 0x04000000, 0)
  })

  test('off and on again, the queue starts at its beginning', () => {
    const made = queued()
    made.invalidate(GLOBAL)
    made.write(0x18, 0x80000000)
    made.until(0x1c, 0x04000000, 0)
    made.queueOn()
    expect(made.read64(0x80)).toBe(0n)
    made.invalidate(GLOBAL)
    expect(made.read64(0x80)).toBe(32n)
  })
})

describe('register-based invalidation [vtd.invalidate.register, vtd.invalidate.granularity]', () => {
  // CCMD: ICC 63, CIRG 62:61, CAIG 60:59. IOTLB at IRO 0xf0 + 8: IVT 63, IIRG 61:60, IAIG 58:57.
  test.each([
    ['global', 0xa0000000, 0, 1],
    ['domain', 0xc0000000, 1, 2],
    ['device', 0xe0000000, 0x00080001, 3],
  ])('CCMD, %s: ICC clears when done, CAIG tells what was done', (_name, command, low, done) => {
    const made = board()
    const device = made.device()
    device.get(IOVA)
    made.store(CONTEXT + 8 * 16, 0n)
    made.write(0x28, low)
    made.write(0x2c, command)
    expect([made.read(0x2c), device.get(IOVA)]).toEqual([command, 0xaan])
    made.elapse(3000)
    expect(made.read(0x2c)).toBe((command & 0x7fffffff) | (done << 27))
    expect(device.get(IOVA)).toBe(-1n)
  })

  test.each([
    ['global', 0x90000000, 0n, 1],
    ['domain', 0xa0000001, 0n, 2],
    ['page', 0xb0000001, BigInt(IOVA), 3],
  ])('IOTLB, %s: IVT clears when done, IAIG tells what was done', (_name, command, address, done) => {
    const made = board()
    const isStale = stale(made)
    made.write64(0xf0, address)
    made.write(0xfc, command)
    expect([made.read(0xfc), isStale()]).toEqual([command, true])
    made.elapse(3000)
    expect(made.read(0xfc)).toBe((command & 0x7fffffff) | (done << 25))
    expect(isStale()).toBe(false)
  })

  test('IOTLB, page above MAMV, or no granularity: refused (IAIG 0) [vtd.invalidate.page.order]', () => {
    const made = board()
    const isStale = stale(made)
    for (const [address, command] of [
      [19n, 0xb0000001],
      [0n, 0x80000000],
    ] as const) {
      made.write64(0xf0, address)
      made.write(0xfc, command)
      made.elapse(3000)
      expect((made.read(0xfc) >>> 25) & 3).toBe(0)
      expect(made.read(0xfc) >>> 31).toBe(0)
    }
    expect(isStale()).toBe(true)
  })

  test('without ICC or IVT nothing starts', () => {
    const made = board()
    const isStale = stale(made)
    made.write(0x2c, 0x20000000)
    made.write(0xfc, 0x10000000)
    made.elapse(3000)
    expect([made.machine.clock.snapshot().invalidation, isStale()]).toEqual([0, true])
  })

  test('CCMD without a granularity is refused (CAIG 0)', () => {
    const made = board()
    made.write(0x2c, 0x80000000)
    made.elapse(3000)
    expect(made.read(0x2c)).toBe(0)
  })

  test('from version 6 on every request is refused [vtd.invalidate.register.version]', () => {
    const made = board(vtdPersonalities['sapphirerapids-sp'])
    const isStale = stale(made)
    made.write(0x2c, 0xa0000000)
    made.write(0x50c, 0x90000000)
    made.elapse(3000)
    expect([made.read(0x2c), made.read(0x50c), isStale()]).toEqual([0x20000000, 0x10000000, true])
  })

  test('domain id bits that the unit lacks are ignored, in registers and descriptors [vtd.register.ccmd.domain]', () => {
    const made = board(vtdPersonalities['sandybridge-ep'])
    const isStale = stale(made)
    made.write(0x20c, 0xa000ff01)
    made.elapse(3000)
    expect(isStale()).toBe(false)
    const other = board(vtdPersonalities['sandybridge-ep'])
    other.queueOn()
    const isOtherStale = stale(other)
    other.invalidate(0xff01_0022n)
    expect(isOtherStale()).toBe(false)
  })

  test('DW is ignored without CAP.DWD [vtd.invalidate.register]', () => {
    const made = new Board({ personality: custom(vtdPersonalities.qemu48, { capHigh: 0x0092008c }) })
    made.ordinary()
    made.turnOn()
    const device = made.device()
    device.get(IOVA)
    made.write(0xfc, 0x90030000)
    made.elapse(1800)
    device.put(IOVA + 8, 0xbadn)
    made.elapse(300)
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(1000)
    expect(made.load(PAGE_A + 8)).toBe(0xbadn)
  })

  test('with the queue on, register commands are not taken (as QEMU): their bit stays [vtd.invalidate.register.queue-on]', () => {
    const made = queued()
    const isStale = stale(made)
    made.write(0xfc, 0x90000000)
    made.write(0x2c, 0xa0000000)
    made.elapse(100000)
    expect([made.read(0xfc) >>> 31, made.read(0x2c) >>> 31, isStale()]).toEqual([1, 1, true])
  })
})

test('from version 2 on an invalidation drains whether or not it says so [vtd.invalidate.drain.version]', () => {
  for (const [low, high] of [
    [0x1_0032n, BigInt(IOVA)],
    [0x1_0022n, 0n],
    [0x12n, 0n],
  ] as const) {
    const made = board(vtdPersonalities['sapphirerapids-sp'])
    made.queueOn()
    made.device().put(IOVA + 8, 0xbadn)
    made.store(L1, 0n)
    made.invalidate(low, high)
    made.store(PAGE_A + 8, 0x600dn)
    made.elapse(1000)
    expect(made.load(PAGE_A + 8)).toBe(0x600dn)
  }
})

describe('a unit that does more than it is asked for [vtd.invalidate.coarser]', () => {
  function coarse(): Board {
    const made = new Board({ options: () => ({ coarseInvalidation: true }) })
    made.ordinary()
    made.context(16, BigInt(L4) | 1n, 0x202n)
    made.store(L1 + 8, BigInt(PAGE_A) | 3n)
    made.store(PAGE_A, 0xaan)
    made.turnOn()
    return made
  }

  test('a page: the domain; a domain: all; IAIG says so', () => {
    const made = coarse()
    const device = made.device()
    device.get(IOVA + 0x1000)
    made.store(L1 + 8, 0n)
    made.write64(0xf0, BigInt(IOVA))
    made.write(0xfc, 0xb0000001)
    made.elapse(3000)
    expect([made.read(0xfc) >>> 25, device.get(IOVA + 0x1000)]).toEqual([(0x30000001 | (2 << 25)) >>> 25, -1n])
    made.store(L1 + 8, BigInt(PAGE_A) | 3n)
    device.get(IOVA + 0x1000)
    made.store(L1 + 8, 0n)
    made.write(0xfc, 0xa0000002)
    made.elapse(3000)
    expect([made.read(0xfc) >>> 25, device.get(IOVA + 0x1000)]).toEqual([(0x20000002 | (1 << 25)) >>> 25, -1n])
  })

  test('by the queue: one drained page takes the domain’s directories too', () => {
    const made = coarse()
    made.queueOn()
    const device = made.device()
    device.get(IOVA)
    made.store(L2 + 8, 0n)
    made.invalidate(0x1_00f2n, BigInt(IOVA + 0x7000) | 0x40n)
    expect(device.get(IOVA)).toBe(-1n)
  })

  test('a device: its domain; a domain: all contexts; CAIG says so', () => {
    const made = coarse()
    const [first, second] = [made.device(8), made.device(16)]
    first.get(IOVA)
    second.get(IOVA)
    made.store(CONTEXT + 16 * 16, 0n)
    made.store(CONTEXT + 8 * 16, 0n)
    made.write(0x28, 0x00180001)
    made.write(0x2c, 0xe0000000)
    made.elapse(3000)
    expect([made.read(0x2c) >>> 27, first.get(IOVA), second.get(IOVA)]).toEqual([0b01110, -1n, 0xaan])
    made.write(0x28, 5)
    made.write(0x2c, 0xc0000000)
    made.elapse(3000)
    expect([made.read(0x2c) >>> 27, second.get(IOVA)]).toEqual([0b01001, -1n])
  })

  test('what is not understood is refused all the same', () => {
    const made = coarse()
    made.write(0xfc, 0x80000000)
    made.write(0x2c, 0x80000000)
    made.elapse(3000)
    expect([made.read(0xfc), made.read(0x2c)]).toEqual([0, 0])
  })
})
