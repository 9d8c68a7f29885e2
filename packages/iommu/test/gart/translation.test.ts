import { describe, expect, test } from 'vitest'
import { MachineTables, type TableMemory } from '../../src/walk.ts'
import { APERTURE, Board, CACHE, CONTROL, PAGE_A, PAGE_B, TABLE, TO_A, TO_B } from './board.ts'

/** Page 0 leads to PAGE_A, page 1 to PAGE_B. */
function board(control = 0x01): Board {
  const made = new Board()
  made.entry(0, TO_A)
  made.entry(1, TO_B)
  made.turnOn(control)
  return made
}

describe('DMA through the aperture', () => {
  test('writes and reads reach the frame of the entry [gart.access.no-rights]', () => {
    const made = board()
    const device = made.device()
    expect(device.put(APERTURE + 0x18, 0x1122334455667788n)).toBe(2)
    expect(made.load(PAGE_A + 0x18)).toBe(0x1122334455667788n)
    made.store(PAGE_B + 0xff8, 7n)
    expect(device.get(APERTURE + 0x1ff8)).toBe(7n)
    expect([made.count('translatedByte'), made.count('dmaFault')]).toEqual([16, 0])
  })

  test('every requester gets the same [gart.access.no-isolation]', () => {
    const made = board()
    const devices = [made.device(8), made.device(0x10), made.device(0, made.bus())]
    devices.forEach((device, i) => {
      expect(device.put(APERTURE, BigInt(i))).toBe(2)
      expect(made.load(PAGE_A)).toBe(BigInt(i))
    })
  })

  test('across pages: each part to the frame of its page', () => {
    const made = board()
    const device = made.device()
    const bytes = Uint8Array.from({ length: 4096 }, (_, i) => i * 7)
    expect(device.write(APERTURE + 0x801, bytes)).toBe(2)
    expect(made.machine.memory.bytes.slice(PAGE_A + 0x801, PAGE_B + 0x801)).toEqual(bytes)
    expect(device.read(APERTURE + 0x801, 4096)).toBe(2)
    expect(made.machine.memory.bytes.slice(device.buffer, device.buffer + 4096)).toEqual(bytes)
  })

  test('up to the first page that fails', () => {
    const made = board()
    made.entry(2, 0)
    const device = made.device()
    expect(device.write(APERTURE + 0x1ff8, new Uint8Array(16).fill(9))).toBe(-1)
    expect(made.load(PAGE_B + 0xff8)).toBe(0x0909090909090909n)
    expect(made.count('dmaFault')).toBe(1)
  })

  test('a request of no bytes is looked up all the same', () => {
    const made = board()
    const device = made.device()
    expect(device.read(APERTURE, 0)).toBe(2)
    expect(device.read(APERTURE, 0)).toBe(2)
    expect(device.read(APERTURE + 0x5000, 0)).toBe(-1)
    expect(device.read(0x5000, 0)).toBe(1)
  })

  test('frames above 4 GiB, and frames that are no RAM', () => {
    const made = board()
    made.entry(2, 0x00005013)
    made.entry(3, 0xe0000003)
    const device = made.device()
    expect(device.put(APERTURE + 0x2000, 5n)).toBe(2)
    expect(made.load(0x1_0000_5000)).toBe(5n)
    // The second time from the TLB.
    expect([device.put(APERTURE + 0x3000, 5n), device.get(APERTURE + 0x3008)]).toEqual([-2, -2n])
    expect([made.count('iotlbMiss'), made.count('iotlbHit')]).toEqual([2, 1])
  })
})

describe('outside it', () => {
  test('addresses pass as they are [gart.base.outside, gart.access.no-isolation]', () => {
    const made = board()
    const device = made.device()
    expect(device.put(0x3000, 3n)).toBe(1)
    expect(device.get(0x3000)).toBe(3n)
    expect(device.put(TABLE + 8, 0x0020_0003_0020_0003n)).toBe(1)
    expect(made.load32(TABLE + 12)).toBe(0x0020_0003)
    expect([device.put(APERTURE - 8, 1n), device.put(APERTURE + 0x200_0000, 1n)]).toEqual([-2, -2])
    expect(made.count('walkRead')).toBe(0)
  })

  test('a request across the edge is not called translated', () => {
    const made = new Board({ lowFrames: 9000 })
    made.write(0x94, 0)
    made.write(0x98, 0x1000)
    made.write(CONTROL, 0x01)
    made.entry(0x1fff, TO_A)
    const device = made.device()
    expect(device.write(0x1ff_fff8, new Uint8Array(16).fill(5))).toBe(1)
    expect([made.load(PAGE_A + 0xff8), made.load(0x200_0000)]).toEqual([0x0505050505050505n, 0x0505050505050505n])
    expect([device.read(0x1ff_fff8, 8), device.read(0x1ff_fff8, 9)]).toEqual([2, 1])
  })

  test.each([
    ['GartEn clear [gart.control.enable]', 0x00],
    ['DisGartIo set [gart.control.dis-io]', 0x21],
  ])('%s: all pass', (_name, control) => {
    const made = board(control)
    const device = made.device()
    expect([device.put(APERTURE, 1n), device.get(APERTURE)]).toEqual([-2, -2n])
    made.write(CONTROL, 0x01)
    expect(device.put(APERTURE, 1n)).toBe(2)
  })

  test('interrupt messages, also where the aperture lies over their window [gart.base.interrupts]', () => {
    const made = new Board()
    // 2 GiB from 2 GiB: pages 0x7EE00 to 0x7EEFF of it are 0xFEE00000 to 0xFEEFFFFF; the table would reach to 3 MiB.
    made.write(0x94, 0x40)
    made.write(0x98, 0x1000)
    made.write(CONTROL, 0x0d)
    for (const page of [0x7edff, 0x7ee00, 0x7eeff, 0x7ef00]) made.entry(page, TO_A)
    const device = made.device()
    expect(device.message(0x41)).toBe(1)
    expect(made.machine.interrupts.received[0x41]).toBe(1)
    expect([device.put(0xfee00000, 1n), device.get(0xfeeff000)]).toEqual([-2, -2n])
    for (const address of [0xfedff000, 0xfef00000]) {
      expect(device.put(address, 6n)).toBe(2)
      expect(device.put(address, BigInt(address))).toBe(2)
      expect(made.load(PAGE_A)).toBe(BigInt(address))
    }
  })
})

describe('a walk that fails', () => {
  test('an entry that is not valid: blocked, and not remembered [gart.pte.valid, gart.cache.bounded]', () => {
    const made = board()
    made.entry(2, 0x00200002)
    const device = made.device()
    expect([device.put(APERTURE + 0x2000, 1n), device.get(APERTURE + 0x2000)]).toEqual([-1, -1n])
    expect(made.load(PAGE_A)).toBe(0n)
    made.entry(2, TO_A)
    expect(device.put(APERTURE + 0x2000, 1n)).toBe(2)
  })

  test('it is traced with the requester, and no code', () => {
    const made = board()
    const seen: unknown[][] = []
    const nothing = (): void => {}
    made.machine.trace = {
      domain: nothing,
      device: nothing,
      hypercall: nothing,
      map: nothing,
      unmap: nothing,
      dma: nothing,
      fault: (...args) => seen.push(args),
    }
    made.device(0x10).put(APERTURE + 0x5008, 1n)
    expect(seen).toEqual([[made.machine.clock.now, 0x10, true, APERTURE + 0x5008, 0]])
  })

  test('GartPteErr: set by it, sticky, cleared by writing 1 and by nothing else [gart.cache.pte-error, gart.cache.pte-error-clear]', () => {
    const made = board()
    const device = made.device()
    expect([device.get(APERTURE), made.read(CACHE)]).toEqual([0n, 0])
    device.get(APERTURE + 0x5000)
    expect(made.read(CACHE)).toBe(2)
    device.get(APERTURE)
    made.write(CACHE, 0)
    made.invalidate()
    made.write(CONTROL, 0)
    expect(made.read(CACHE)).toBe(2)
    made.write(CACHE, 2)
    expect(made.read(CACHE)).toBe(0)
    made.write(CONTROL, 1)
    device.put(APERTURE + 0x5000, 1n)
    expect(made.read(CACHE)).toBe(2)
    // Both bits at once: the error goes, the invalidation starts.
    made.write(CACHE, 3)
    expect(made.read(CACHE)).toBe(1)
  })

  test('a table that cannot be read: blocked, GartPteErr [gart.table.memory-failure]', () => {
    class Failing implements TableMemory {
      readonly words: Int32Array
      readonly #inner: MachineTables
      constructor(inner: MachineTables) {
        this.words = inner.words
        this.#inner = inner
      }
      entryAt(mfn: number, index: number): number {
        return mfn === 0x100 && index === 1 ? -2 : this.#inner.entryAt(mfn, index)
      }
    }
    const made = new Board({ tables: ({ memory }) => new Failing(new MachineTables(memory)) })
    made.entry(1, TO_A)
    made.entry(3, TO_A)
    made.turnOn()
    const device = made.device()
    expect([device.get(APERTURE + 0x1000), made.read(CACHE)]).toEqual([0n, 0])
    expect([device.get(APERTURE + 0x3000), made.read(CACHE)]).toEqual([-1n, 2])
    made.write(CACHE, 2)
    // No RAM where the table is said to be.
    made.write(0x98, 0xd0000000)
    expect([device.put(APERTURE + 0x6000, 1n), made.read(CACHE)]).toEqual([-1, 2])
  })
})
