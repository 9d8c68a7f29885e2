import { describe, expect, test } from 'vitest'
import { APERTURE, BASE, Board, CACHE, CONTROL, PAGE_A, PAGE_B, TABLE_BASE, TO_A, TO_B } from './board.ts'

describe('several nodes [gart.nodes.alike]', () => {
  function board(): { board: Board; near: ReturnType<Board['device']>; far: ReturnType<Board['device']> } {
    const made = new Board({ nodes: 2 })
    made.entry(0, TO_A)
    return { board: made, near: made.device(8), far: made.device(0, made.bus()) }
  }

  test('what comes through a node goes by the registers of that node', () => {
    const { board: made, near, far } = board()
    made.turnOn(0x01, 0)
    expect([near.put(APERTURE, 1n), far.put(APERTURE, 2n)]).toEqual([2, -2])
    made.turnOn(0x01, 1)
    expect([far.put(APERTURE, 3n), made.load(PAGE_A)]).toEqual([2, 3n])
    made.write(BASE, 0x61, 1)
    made.invalidate(1)
    expect([near.put(APERTURE, 4n), far.put(APERTURE, 5n)]).toEqual([2, -2])
  })

  test('each has a TLB of its own: InvGart of one leaves the other stale [gart.cache.stale]', () => {
    const { board: made, near, far } = board()
    made.turnOn(0x01, 0)
    made.turnOn(0x01, 1)
    near.put(APERTURE, 1n)
    far.put(APERTURE, 1n)
    const hits = made.staleHits()
    made.entry(0, TO_B)
    made.invalidate(0)
    near.put(APERTURE, 2n)
    expect([made.load(PAGE_B), hits]).toEqual([2n, []])
    far.put(APERTURE, 3n)
    expect([made.load(PAGE_A), hits.map(({ requester }) => requester)]).toEqual([3n, [0x100]])
    made.invalidate(1)
    far.put(APERTURE, 4n)
    expect(made.load(PAGE_B)).toBe(4n)
  })

  test('each has an error bit of its own', () => {
    const { board: made, far } = board()
    made.turnOn(0x01, 0)
    made.turnOn(0x01, 1)
    far.get(APERTURE + 0x5000)
    expect([made.read(CACHE, 0), made.read(CACHE, 1)]).toEqual([0, 2])
  })

  test('the board says which bus hangs on which node', () => {
    const made = new Board({ nodes: 3, nodeOfBus: (bus) => (bus === 1 ? 2 : 0) })
    made.entry(0, TO_A)
    const far = made.device(0, made.bus())
    made.turnOn(0x01, 2)
    expect([far.put(APERTURE, 1n), far.get(APERTURE)]).toEqual([2, 1n])
    expect(made.device(8).put(APERTURE, 1n)).toBe(-2)
  })
})

describe('DisGartTblWlkPrb [gart.control.dis-walk-probe]', () => {
  test('clear: table walks look into CPU caches. Set on any node: they do not', () => {
    const made = new Board({ nodes: 2 })
    const told: boolean[] = []
    made.gart.onCoherent = (coherent) => told.push(coherent)
    made.write(CONTROL, 0x40, 1)
    made.write(CONTROL, 0x40, 0)
    made.write(CONTROL, 0x41, 0)
    made.write(CONTROL, 0x01, 0)
    expect(told).toEqual([false])
    made.write(CONTROL, 0x01, 1)
    expect(told).toEqual([false, true])
  })
})

describe('CPUs and the aperture [gart.control.dis-cpu]', () => {
  const made = () => {
    const board = new Board()
    board.entry(0, TO_A)
    board.entry(1, TO_B)
    board.entry(2, 0xe0000003)
    board.turnOn()
    return board
  }

  test('their accesses are translated as those of devices', () => {
    const board = made()
    const { mmio } = board.machine
    mmio.write32(APERTURE + 0x10, 0x12345678)
    mmio.write64(APERTURE + 0x1ff8, 0x1122334455667788n)
    expect([board.load32(PAGE_A + 0x10), board.load(PAGE_B + 0xff8)]).toEqual([0x12345678, 0x1122334455667788n])
    expect([mmio.read32(APERTURE + 0x10), mmio.read64(APERTURE + 0x1ff8)]).toEqual([0x12345678, 0x1122334455667788n])
    // The same TLB.
    board.entry(0, TO_B)
    const hits = board.staleHits()
    mmio.write32(APERTURE, 1)
    expect([board.load32(PAGE_A), hits]).toEqual([
      1,
      [{ requester: -1, hi: 0, lo: APERTURE | 0, write: true, mfn: 0x200 }],
    ])
  })

  test('what fails reads all ones and is dropped on a write; it is a failed walk, but no DMA', () => {
    const board = made()
    const { mmio } = board.machine
    expect(mmio.read32(APERTURE + 0x3000)).toBe(0xffff_ffff)
    mmio.write32(APERTURE + 0x2000, 1)
    expect([mmio.read32(APERTURE + 0x2000), board.read(CACHE), board.count('dmaFault')]).toEqual([0xffff_ffff, 2, 0])
  })

  test('DisGartCpu set: nothing answers there; those of devices still are', () => {
    const board = made()
    board.write(CONTROL, 0x11)
    const { mmio } = board.machine
    mmio.write32(APERTURE, 7)
    expect([mmio.read32(APERTURE), board.load32(PAGE_A), mmio.claims(APERTURE)]).toEqual([0xffff_ffff, 0, false])
    expect(board.device().put(APERTURE, 1n)).toBe(2)
  })

  test('DisGartIo set: CPUs only', () => {
    const board = made()
    board.write(CONTROL, 0x21)
    board.machine.mmio.write32(APERTURE, 7)
    expect([board.load32(PAGE_A), board.device().put(APERTURE, 1n)]).toEqual([7, -2])
    const hits = board.staleHits()
    board.machine.mmio.write32(APERTURE, 8)
    expect(hits).toEqual([])
  })

  test('it follows the registers, and gives way to what is there already', () => {
    const board = made()
    const { mmio } = board.machine
    board.write(BASE, 0x62)
    expect([mmio.claims(APERTURE), mmio.claims(0xc400_0000)]).toEqual([false, true])
    board.write(CONTROL, 0)
    expect(mmio.claims(0xc400_0000)).toBe(false)
    mmio.map(0xc100_0000, 0x1000, { read32: () => 0x77, write32: () => {} })
    board.write(BASE, 0x60)
    board.write(CONTROL, 1)
    expect([mmio.read32(0xc100_0000), mmio.claims(APERTURE)]).toEqual([0x77, false])
    mmio.unmap(0xc100_0000)
    board.write(TABLE_BASE, 0x1000)
    expect(mmio.claims(APERTURE)).toBe(true)
    board.gart.suspend()
    expect(mmio.claims(APERTURE)).toBe(false)
  })
})
