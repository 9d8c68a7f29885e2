import { describe, expect, test } from 'vitest'
import { calgaryPersonalities } from '../../src/hardware.ts'
import { CalgaryNeed, CalgaryWalk, type TableMemory, UNTRANSLATED } from '../../src/walk.ts'

const READ = 1
const WRITE = 2

/** 1 MiB of memory at each of a few addresses; what is not there fails, what is in `poisoned` is bad. */
class Memory implements TableMemory {
  readonly words = new Int32Array(4 * 0x40000)
  readonly #bytes = new DataView(this.words.buffer)
  readonly #bases = [0, 0x7ff00000, 0xfff00000, 0x7ffffff00000]
  readonly poisoned = new Set<number>()

  /** Bytes as they lie in memory, from the lowest address on. */
  bytes(address: number, text: string): this {
    const at = this.#at(address)
    text.split(' ').forEach((byte, i) => this.#bytes.setUint8(at + i, Number.parseInt(byte, 16)))
    return this
  }

  entryAt(mfn: number, index: number): number {
    const address = mfn * 4096 + index * 8
    return this.poisoned.has(address) ? -2 : this.#at(address) < 0 ? -1 : this.#at(address) / 4
  }

  #at(address: number): number {
    const area = this.#bases.findIndex((base) => address >= base && address < base + 0x100000)
    return area < 0 ? -1 : area * 0x100000 + address - this.#bases[area]!
  }
}

const make = (memory: TableMemory, name: 'calgary' | 'calioc2' = 'calgary') =>
  new CalgaryWalk(memory, calgaryPersonalities[name])

describe('one look-up, bit for bit', () => {
  test('the needs of a request are the bits of the entry [calgary.tce.rights]', () => {
    expect(CalgaryNeed).toEqual({ read: READ, write: WRITE })
  })

  test('entry and frame, big-endian: 00 00 12 34 56 78 90 03 is frame 0x123456789 with both rights [calgary.tce.format]', () => {
    const memory = new Memory().bytes(0x10000 + 8 * 0x123, '00 00 12 34 56 78 90 03')
    const walk = make(memory)
    expect(walk.request(0, 0x10000, 0, 0x123abc, READ)).toBe(0x123456789)
    expect([walk.rights, walk.reads]).toEqual([3, 1])
  })

  test('the highest frame: 47:12 all ones [calgary.tce.format]', () => {
    const memory = new Memory().bytes(0x10000, '00 00 ff ff ff ff f0 03')
    expect(make(memory).request(0, 0x10000, 0, 0, WRITE)).toBe(0xfffffffff)
  })

  test('hub id, reserved and unused bits are not looked at [calgary.tce.ignored]', () => {
    const memory = new Memory().bytes(0x10000 + 8, 'ff ff 00 00 00 00 5f ff')
    const walk = make(memory)
    expect([walk.request(0, 0x10000, 0, 0x1000, WRITE), walk.rights]).toEqual([5, 3])
    // 7:2, 11:8 and 63:48 alone grant nothing.
    memory.bytes(0x10000 + 16, 'ff ff ff ff ff ff ff fc')
    expect([walk.request(0, 0x10000, 0, 0x2000, READ), walk.rights]).toEqual([-2, 0])
  })

  test.each([
    ['read', '00 00 00 00 00 30 00 01', [0x300, -3, 1]],
    ['write', '00 00 00 00 00 30 00 02', [-3, 0x300, 2]],
    ['both', '00 00 00 00 00 30 00 03', [0x300, 0x300, 3]],
    ['neither', '00 00 00 00 00 30 00 00', [-2, -2, 0]],
  ])('an entry for %s [calgary.tce.rights]', (_name, bytes, expected) => {
    const walk = make(new Memory().bytes(0x10000, bytes))
    expect([walk.request(0, 0x10000, 0, 0x10, READ), walk.request(0, 0x10000, 0, 0x10, WRITE), walk.rights]).toEqual(
      expected,
    )
  })

  test('the observer is told of every entry: one, with where it lies and what it is [calgary.tce.flat]', () => {
    const memory = new Memory().bytes(0x10000 + 8 * 0x201, '00 00 00 01 80 00 00 02')
    const told: number[][] = []
    const observer = { entry: (...entry: number[]) => void told.push(entry) }
    expect(make(memory).request(0, 0x10000, 0, 0x201fff, WRITE, undefined, observer)).toBe(0x180000)
    expect(make(memory).request(0, 0x10000, 0, 0x2000000, WRITE, undefined, observer)).toBe(-1)
    expect(told).toEqual([[0x11, 1, 1, 0x80000002 | 0]])
  })
})

describe('TAR', () => {
  test('47:15 is the address; foreign bits 63:48 and 14:4 are not looked at [calgary.tar.base]', () => {
    const memory = new Memory().bytes(0x7ffffff00000, '00 00 00 00 00 04 20 03')
    const walk = make(memory)
    expect(walk.request(0x7fff, 0xfff00000 | 0, 0, 0, READ)).toBe(0x42)
    expect(walk.request(0xffff7fff | 0, 0xfff07ff0 | 0, 0, 0, READ)).toBe(0x42)
    // Bit 15 counts.
    memory.bytes(0x7ffffff08000, '00 00 00 00 00 04 30 03')
    expect(walk.request(0x7fff, 0xfff08000 | 0, 0, 0, READ)).toBe(0x43)
  })

  test.each([
    [0, 0x1fff000, 0x2000000],
    [1, 0x3fff000, 0x4000000],
    [2, 0x7fff000, 0x8000000],
    [3, 0xffff000, 0x10000000],
    [4, 0x1ffff000, 0x20000000],
    [5, 0x3ffff000, 0x40000000],
    [6, 0x7ffff000, 0x80000000],
    [7, 0xfffff000, 0x100000000],
  ])(
    'size code %i reaches up to 0x%s, and no further [calgary.tar.size-code, calgary.tar.reach]',
    (code, last, end) => {
      const reads: number[] = []
      const memory: TableMemory = {
        // The last entry of any table: frame 7, read.
        words: new Int32Array([0, 0x01700000]),
        entryAt(mfn, index) {
          reads.push(mfn * 4096 + index * 8)
          return 0
        },
      }
      const walk = make(memory)
      expect(walk.request(0, 0x40000000 | code, 0, last | 0, READ)).toBe(7)
      expect(reads).toEqual([0x40000000 + 0x10000 * 2 ** code - 8])
      const behind = [Math.floor(end / 2 ** 32), end | 0] as const
      expect(walk.request(0, 0x40000000 | code, ...behind, READ)).toBe(-1)
      expect(walk.request(0, 0x40000000 | code, 0x80000000 | 0, 0x200000, READ)).toBe(-1)
      expect(reads).toHaveLength(1)
    },
  )

  test('bit 3 is not looked at, unless the personality wants it [calgary.tar.valid]', () => {
    const memory = new Memory().bytes(0x10000, '00 00 00 00 00 30 00 03')
    const walk = make(memory)
    expect([walk.request(0, 0x10000, 0, 0, READ), walk.request(0, 0x10008, 0, 0, READ)]).toEqual([0x300, 0x300])
    const strict = new CalgaryWalk(memory, { legacyFirst: 0xa0000, needsValid: true })
    expect([strict.request(0, 0x10000, 0, 0, READ), strict.request(0, 0x10008, 0, 0, READ)]).toEqual([-5, 0x300])
  })
})

describe('addresses that no table is asked for', () => {
  const memory = new Memory().bytes(0x10000, '00 00 00 00 00 30 00 03')
  const passes = (name: 'calgary' | 'calioc2', address: number, hi = 0) =>
    make(memory, name).request(0, 0x10000, hi, address | 0, READ) === UNTRANSLATED

  test('640 KiB to 1 MiB on Calgary, 0 to 1 MiB on CalIOC2 [calgary.window.legacy]', () => {
    expect([0, 0x9ffff, 0xa0000, 0xfffff, 0x100000].map((at) => passes('calgary', at))).toEqual([
      false,
      false,
      true,
      true,
      false,
    ])
    expect([0, 0x9ffff, 0xa0000, 0xfffff, 0x100000].map((at) => passes('calioc2', at))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ])
    expect([passes('calgary', 0xa0000, 1), passes('calioc2', 0, 1)]).toEqual([false, false])
  })

  test('such a request has both rights and reads nothing', () => {
    const walk = make(memory)
    walk.request(0, 0x10000, 0, 0xb8000, WRITE)
    expect([walk.rights, walk.reads]).toEqual([3, 0])
  })

  test('peripheral windows in whole MiB, above 4 GiB too [calgary.window.memory1, calgary.window.memory2]', () => {
    const windows = { memory1First: 0x10, memory1Last: 0x12, memory2First: 0x1000, memory2Last: 0x1000 }
    const walk = make(memory)
    const passed = (hi: number, lo: number) => walk.request(0, 0x10007, hi, lo | 0, READ, windows) === UNTRANSLATED
    expect([0xffffff, 0x1000000, 0x12fffff, 0x1300000].map((lo) => passed(0, lo))).toEqual([false, true, true, false])
    expect([passed(0, 0xffffffff), passed(1, 0), passed(1, 0xfffff), passed(1, 0x100000)]).toEqual([
      false,
      true,
      true,
      false,
    ])
  })
})

describe('memory that fails', () => {
  test('no answer or bad data: a fault, and no right [calgary.tce.unreadable]', () => {
    const memory = new Memory().bytes(0x10000, '00 00 00 00 00 30 00 03')
    memory.poisoned.add(0x10000)
    const walk = make(memory)
    expect([walk.request(0, 0x10000, 0, 0, READ), walk.rights, walk.reads]).toEqual([-4, 0, 0])
    expect(walk.request(0, 0x50000000, 0, 0, READ)).toBe(-4)
  })
})
