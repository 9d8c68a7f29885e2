import { describe, expect, test } from 'vitest'
import { calgaryPersonalities } from '../../src/hardware.ts'
import { Board, IOVA, OTHER, PAGE_A, PAGE_B, TABLE } from './board.ts'

const { calgary, calioc2 } = calgaryPersonalities
/** Posted writes are in memory after this. */
const LATEST = 4000
const AER = 0x8200
const PLSSR = 0x8120
const QUEUE = 0x4870
const PMDR = 0x8da0
const PMCR = 0x8da8

/** Whether the lowest byte of bridge 0’s split queue, as the CPU reads it, is 0xFF. */
const quiet = (board: Board): boolean => (board.machine.mmio.read32(0xd0000000 + QUEUE) & 0xff) === 0xff

describe('the split queue [calgary.split-queue]', () => {
  test('0xFF in its lowest byte while nothing is under way; either byte order', () => {
    const board = new Board().ordinary()
    const device = board.device()
    expect(board.get64(QUEUE)).toBe(0xffffffffffffffffn)
    device.put(IOVA, 1n)
    expect([Number(board.get64(QUEUE) & 0xffn), Number(board.get64(QUEUE) >> 56n)]).toEqual([0xfe, 0xfe])
    device.put(IOVA, 1n)
    device.put(IOVA, 1n)
    expect(board.get64(QUEUE) & 0xffn).toBe(0xf8n)
    board.elapse(LATEST)
    expect(board.get64(QUEUE)).toBe(0xffffffffffffffffn)
  })

  test('more requests than it can show: 0', () => {
    const board = new Board().ordinary()
    const device = board.device()
    for (let i = 0; i < 30; i++) device.put(IOVA, 1n)
    expect(board.get64(QUEUE)).toBe(0n)
  })

  test('each bridge has its own', () => {
    const board = new Board().ordinary()
    board.device().put(IOVA, 1n)
    expect([0x5870, 0x6870, 0x7870].map((at) => board.get64(at))).toEqual([0, 1, 2].map(() => 0xffffffffffffffffn))
  })
})

describe('AER', () => {
  test('0 stops arbitration: nothing enters the queue [calgary.aer.stop]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    const aer = board.get(AER)
    board.set(AER, 0)
    board.get(PLSSR)
    device.put(IOVA, 1n)
    expect(quiet(board)).toBe(true)
    board.set(AER, aer)
    board.get(AER)
    device.put(IOVA, 1n)
    expect(quiet(board)).toBe(false)
  })

  test('a request of that time is served as if it had come before: by what the bridge knows [calgary.aer.wait]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    device.put(IOVA, 1n)
    board.set(AER, 0)
    board.get(PLSSR)
    board.entry(IOVA, 0n)
    expect([device.put(IOVA, 2n), board.load(PAGE_A)]).toEqual([2, 2n])
    board.tar(BigInt(TABLE))
    expect(device.put(IOVA, 3n)).toBe(-1)
  })

  test('devices do not wait for ever: whoever forgets to restore AER has a dead bus [calgary.aer.wait]', () => {
    const board = new Board().ordinary()
    const device = board.device()
    board.set(AER, 0)
    board.get(AER)
    board.elapse(1_100_000)
    expect([device.put(IOVA, 1n), device.get(IOVA)]).toEqual([-3, -3n])
    board.set(AER, 0x80000000)
    board.get(AER)
    expect(device.put(IOVA, 1n)).toBe(2)
    // A stop that begins anew has its own time.
    board.set(AER, 0)
    board.get(AER)
    expect(device.put(IOVA, 1n)).toBe(2)
  })
})

/** The whole procedure by hand; `leave` leaves steps out. */
function blastCalgary(board: Board, leave: { stop?: boolean; poll?: boolean } = {}): void {
  const aer = board.get(AER)
  if (!leave.stop) board.set(AER, 0)
  board.get(PLSSR)
  for (let i = 0; !leave.poll && !quiet(board) && i < 100; i++);
  board.set64(0x580, BigInt(TABLE))
  board.set(AER, aer)
  board.get(AER)
}

function blastCalIoc2(board: Board, leave: { stop?: boolean; poll?: boolean } = {}): void {
  if (!leave.stop) board.set(PMCR, (board.get(PMCR) | 0x80000000) >>> 0)
  for (let i = 0; !leave.poll && !quiet(board) && i < 100; i++);
  board.get(PMDR)
  board.get(PMCR)
  board.set64(0x580, BigInt(TABLE))
  board.get(PMCR)
  board.set(PMCR, 0)
  board.get(PMCR)
}

describe.each([
  { personality: calgary, blast: blastCalgary },
  { personality: calioc2, blast: blastCalIoc2 },
])(
  'a write on its way when the cache is emptied, $personality.name [calgary.blast.drain]',
  ({ personality, blast }) => {
    const start = () => {
      const board = new Board({ personality }).ordinary()
      board.entry(IOVA + 0x1000, BigInt(PAGE_B) | 3n)
      return { board, device: board.device() }
    }

    test('the whole procedure: it has landed, and the page is out of reach [calgary.blast.calgary, calgary.blast.calioc2]', () => {
      const { board, device } = start()
      device.put(IOVA + 8, 0xbadn)
      board.entry(IOVA, 0n)
      blast(board)
      expect(board.load(PAGE_A + 8)).toBe(0xbadn)
      board.store(PAGE_A + 8, 0x600dn)
      expect(device.put(IOVA + 8, 0xbadn)).toBe(-1)
      board.elapse(10 * LATEST)
      expect(board.load(PAGE_A + 8)).toBe(0x600dn)
    })

    test('without waiting for the queue it lands in the data of the frame’s next owner', () => {
      const { board, device } = start()
      device.put(IOVA + 8, 0xbadn)
      board.entry(IOVA, 0n)
      board.set64(0x580, BigInt(TABLE))
      board.get64(0x580)
      board.store(PAGE_A + 8, 0x600dn)
      board.elapse(LATEST)
      expect(board.load(PAGE_A + 8)).toBe(0xbadn)
    })

    test('with everything but the wait, too, if the device writes at the last moment before the stop', () => {
      const { board, device } = start()
      device.get(IOVA)
      // Just before the register write arrives that stops the bus.
      board.machine.clock.after(700, () => device.put(IOVA + 8, 0xbadn))
      board.entry(IOVA, 0n)
      blast(board, { poll: true })
      board.store(PAGE_A + 8, 0x600dn)
      board.elapse(LATEST)
      expect(board.load(PAGE_A + 8)).toBe(0xbadn)
    })

    test('without stopping the bus a device that never rests keeps it from getting quiet, and writes late', () => {
      const { board, device } = start()
      let times = 0
      const again = () => {
        if (times++ > 2000) return
        device.put(IOVA + 8, 0xbadn)
        board.machine.clock.after(100, again)
      }
      again()
      board.elapse(500)
      expect(quiet(board)).toBe(false)
      board.entry(IOVA, 0n)
      blast(board, { stop: true })
      board.store(PAGE_A + 8, 0x600dn)
      board.elapse(LATEST)
      expect(board.load(PAGE_A + 8)).toBe(0xbadn)
    })

    test('the same device under the whole procedure: quiet, and the next owner keeps its data', () => {
      const { board, device } = start()
      let times = 0
      const again = () => {
        if (times++ > 2000) return
        device.put(IOVA + 8, 0xbadn)
        board.machine.clock.after(100, again)
      }
      again()
      board.elapse(500)
      board.entry(IOVA, 0n)
      blast(board)
      board.store(PAGE_A + 8, 0x600dn)
      board.elapse(10 * LATEST)
      expect(board.load(PAGE_A + 8)).toBe(0x600dn)
    })

    test('writes through another bridge do not matter', () => {
      const { board } = start()
      const bus = board.bus()
      const far = board.device(0, bus)
      board.tar(BigInt(OTHER), 1)
      board.entry(IOVA, BigInt(PAGE_B) | 3n, OTHER)
      board.config(0x20000000, 1)
      far.put(IOVA, 0xbadn)
      board.set64(0x580, BigInt(TABLE))
      board.get64(0x580)
      board.store(PAGE_B, 0x600dn)
      board.elapse(LATEST)
      expect(board.load(PAGE_B)).toBe(0x600dn)
    })
  },
)

test('without reading back, the device still has its page when the driver believes it gone [calgary.registers.posted]', () => {
  const board = new Board().ordinary()
  const device = board.device()
  device.put(IOVA, 1n)
  board.entry(IOVA, 0n)
  board.set64(0x580, BigInt(TABLE))
  board.store(PAGE_A, 0x600dn)
  expect([device.put(IOVA, 0xbadn), board.load(PAGE_A)]).toEqual([2, 0xbadn])
  board.elapse(300)
  expect(device.put(IOVA, 2n)).toBe(-1)
})

describe('page migration control of CalIOC2', () => {
  const start = () => {
    const board = new Board({ personality: calioc2 }).ordinary()
    return { board, device: board.device(), bridge: board.chip.bridges[0]! }
  }

  test('SoftStop: nothing enters the queue; written 0, all goes on [calgary.pmr.soft-stop]', () => {
    const { board, device } = start()
    board.set(PMCR, 0x80000000)
    board.get(PLSSR)
    device.put(IOVA, 1n)
    expect(quiet(board)).toBe(true)
    board.set(PMCR, 0)
    board.get(PLSSR)
    device.put(IOVA, 1n)
    expect(quiet(board)).toBe(false)
  })

  test('reading PMCR in soft stop is what makes it HardStop; before that, reading says 0 [calgary.pmr.hard-stop]', () => {
    const { board, device } = start()
    expect(board.get(PMCR)).toBe(0)
    board.set(PMCR, 0x80000000)
    expect([board.get(PMDR), board.get(PMCR)]).toEqual([0, 0xa0000000])
    expect(board.get(PMCR)).toBe(0xa0000000)
    device.put(IOVA, 1n)
    expect(quiet(board)).toBe(true)
    board.set(PMCR, 0)
    expect(board.get(PMCR)).toBe(0)
  })

  test('SoftStopFault: the bridge has not stopped, and no HardStop comes of it; the next soft stop may work [calgary.pmr.soft-stop-fault]', () => {
    const { board, device, bridge } = start()
    bridge.softStopFaults = 1
    board.set(PMCR, 0x80000000)
    expect([board.get(PMDR), board.get(PMCR)]).toEqual([0x40000000, 0x80000000])
    device.put(IOVA, 1n)
    expect(quiet(board)).toBe(false)
    board.set(PMCR, 0x80000000)
    expect([board.get(PMDR), board.get(PMCR)]).toEqual([0, 0xa0000000])
    board.set(PMCR, 0)
    expect([board.get(PMDR), board.get(PMCR)]).toEqual([0, 0])
  })

  test('its bridges stop one by one', () => {
    const { board, device } = start()
    board.set(PMCR + 0x1000, 0x80000000)
    board.get(PLSSR)
    device.put(IOVA, 1n)
    expect(quiet(board)).toBe(false)
  })
})
