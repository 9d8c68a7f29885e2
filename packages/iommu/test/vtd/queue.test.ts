import { describe, expect, test } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, PAGE_A, QUEUE, STATUS } from './board.ts'

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

describe('completion is late (A.5)', () => {
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

  test('the status write is 4 bytes: its neighbours stay (A.5)', () => {
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
    made.queue(wait(2n), BigInt(STATUS))
    made.ring()
    made.elapse(2000)
    expect(made.load(STATUS)).toBe(2n)
  })

  test('a queue of one page wraps after 256 descriptors (A.5)', () => {
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

  test('QS = 1 makes a queue of two pages', () => {
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

  test('a tail that was set before QIE counts from then on (QEMU does so too)', () => {
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

describe('invalidation event (A.1, A.5)', () => {
  const event = (made: Board) => {
    made.write(0xa4, 0x51)
    made.write(0xa8, 0xfee00000)
  }
  const waitInterrupt = (made: Board) => {
    made.queue(wait(0n, 0x10n))
    made.ring()
    made.elapse(2000)
  }

  test('a wait with IF sets ICS.IWC and sends the message; the next one only after IWC was cleared', () => {
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

describe('a bad descriptor stops the queue with FSTS.IQE (A.5)', () => {
  test.each<[string, bigint, bigint]>([
    ['type 0', 0n, 0n],
    ['type 15', 0xfn, 0n],
    ['type 3 (device TLB) without ECAP.DT', 3n, 0n],
    ['type 4 (interrupt entries) without ECAP.IR', 4n, 0n],
    ['context: granularity 0', 0x01n, 0n],
    ['context: reserved bit 6', 0x51n, 0n],
    ['context: reserved bit 15', 0x8011n, 0n],
    ['context: reserved bit 50', 0x11n | (1n << 50n), 0n],
    ['context: upper quadword', 0x11n, 1n],
    ['IOTLB: granularity 0', 0x02n, 0n],
    ['IOTLB: reserved bit 8', 0x112n, 0n],
    ['IOTLB: reserved bit 32', 0x12n | (1n << 32n), 0n],
    ['IOTLB: reserved bit 7 of the upper quadword', 0x32n, 0x80n],
    ['IOTLB: AM 19 above MAMV 18', 0x32n, 19n],
    ['wait: reserved bit 8', 0x125n, 0n],
    ['wait: status address not aligned', 0x25n, 2n],
  ])('%s', (_name, low, high) => {
    const made = queued()
    const isStale = stale(made)
    made.queue(wait(1n), BigInt(STATUS))
    made.queue(low, high)
    made.queue(GLOBAL)
    made.queue(wait(2n), BigInt(STATUS))
    made.ring()
    made.elapse(5000)
    expect(made.read(0x34)).toBe(IQE)
    expect(made.read64(0x80)).toBe(16n)
    expect([made.load(STATUS), isStale()]).toEqual([1n, true])
  })

  test('a descriptor that cannot be read', () => {
    const made = board()
    made.write64(0x90, 0x900000n)
    made.write(0x18, 0x84000000)
    made.until(0x1c, 0x04000000, 0x04000000)
    made.write(0x88, 16)
    made.elapse(2000)
    expect([made.read(0x34), made.read64(0x80)]).toEqual([IQE, 0n])
  })

  test('a tail outside the queue', () => {
    const made = queued()
    made.write(0x88, 0x1000)
    made.elapse(5000)
    expect([made.read(0x34), made.read64(0x80)]).toEqual([IQE, 0n])
  })

  test('nothing is fetched until IQE is cleared; then the queue goes on from the repaired descriptor', () => {
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

  test('it is a fault event', () => {
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

describe('queue off (A.5)', () => {
  test('QIE is cleared when the queue is empty, at once or when it has become so', () => {
    const made = queued()
    made.queue(wait(1n), BigInt(STATUS))
    made.ring()
    made.write(0x18, 0x80000000)
    made.until(0x1c, 0x04000000, 0)
    expect(made.load(STATUS)).toBe(1n)
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

describe('register-based invalidation (A.1)', () => {
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

  test('IOTLB, page above MAMV, or no granularity: refused (IAIG 0)', () => {
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

  test('with the queue on, register commands are not taken (as QEMU): their bit stays', () => {
    const made = queued()
    const isStale = stale(made)
    made.write(0xfc, 0x90000000)
    made.write(0x2c, 0xa0000000)
    made.elapse(100000)
    expect([made.read(0xfc) >>> 31, made.read(0x2c) >>> 31, isStale()]).toEqual([1, 1, true])
  })
})
