import { describe, expect, test } from 'vitest'
import { GartWalk, type TableMemory } from '../../src/walk.ts'
import { gart } from '../../src/spec.ts'
import { high, low } from './board.ts'

/** Words by byte address; every other byte of memory is 0. */
class Sparse implements TableMemory {
  readonly words: Int32Array
  readonly #address: number[]
  /** Byte addresses that nobody answers at, and that are poisoned. */
  readonly absent = new Set<number>()
  readonly poisoned = new Set<number>()

  constructor(entries: Record<number, number>) {
    this.#address = Object.keys(entries).map(Number)
    // Word 0 and 1 are those of all other addresses.
    this.words = Int32Array.from([0, 0, ...Object.values(entries)])
  }

  entryAt(): number {
    return 0
  }

  wordAt(mfn: number, index: number): number {
    const address = mfn * 4096 + index * 4
    if (this.absent.has(address)) return -1
    if (this.poisoned.has(address)) return -2
    return this.#address.indexOf(address) < 0 ? 0 : this.#address.indexOf(address) + 2
  }
}

/** One walk: what it gives, with page size, rights and the entries that it read. */
function walk(
  memory: TableMemory,
  { control = 0x01, base = 0x60, table = 0x1000 },
  address: number | bigint,
): { frame: number; shift: number; rights: number; steps: string[] } {
  const walker = new GartWalk(memory)
  const steps: string[] = []
  const frame = walker.request(control, base, table, high(address), low(address), (mfn, index, entry) =>
    steps.push(`${(mfn * 4096 + index * 4).toString(16)}: ${(entry >>> 0).toString(16).padStart(8, '0')}`),
  )
  expect(walker.reads).toBe(steps.length)
  return { frame, shift: walker.pageShift, rights: walker.pageRights, steps }
}

describe('which addresses are in the aperture', () => {
  const memory = new Sparse({ 0x100000: 0x00200003, 0x107ffc: 0x00201003 })

  test('32 MiB from 3 GiB: first and last page, and the pages around them [gart.base.address, gart.base.outside]', () => {
    expect(walk(memory, {}, 0xc0000123)).toMatchObject({ frame: 0x200, shift: 12, rights: 3 })
    expect(walk(memory, {}, 0xc1ffffff)).toMatchObject({ frame: 0x201, shift: 12, rights: 3 })
    expect(walk(memory, {}, 0xbfffffff)).toEqual({ frame: 0xbffff, shift: 0, rights: 3, steps: [] })
    expect(walk(memory, {}, 0xc2000000)).toEqual({ frame: 0xc2000, shift: 0, rights: 3, steps: [] })
  })

  test('the same address plus 2^40 or more is another one', () => {
    for (const bit of [40n, 41n, 52n, 63n])
      expect(walk(memory, {}, (1n << bit) | 0xc0000000n)).toMatchObject({ shift: 0, steps: [] })
    expect(walk(memory, {}, 0x0100_c000_0000n).frame).toBe(0x100c_0000)
    expect(walk(memory, {}, 0xffff_ffff_ffff_f000n).frame).toBe(2 ** 52 - 1)
  })

  test('GartEn clear: none [gart.control.enable]', () => {
    expect(walk(memory, { control: 0x00 }, 0xc0000000)).toEqual({ frame: 0xc0000, shift: 0, rights: 3, steps: [] })
  })

  test('DisGartIo set: none for devices; DisGartCpu says nothing to them [gart.control.dis-io, gart.control.dis-cpu]', () => {
    expect(walk(memory, { control: 0x21 }, 0xc0000000)).toMatchObject({ shift: 0, steps: [] })
    expect(walk(memory, { control: 0x11 }, 0xc0000000)).toMatchObject({ shift: 12, frame: 0x200 })
    expect(walk(memory, { control: 0x51 }, 0xc0000000)).toMatchObject({ shift: 12, frame: 0x200 })
  })

  test.each([
    [0, 0x0200_0000],
    [1, 0x0400_0000],
    [2, 0x0800_0000],
    [3, 0x1000_0000],
    [4, 0x2000_0000],
    [5, 0x4000_0000],
    [6, 0x8000_0000],
  ])('order %i: its last page is inside, the next one is not [gart.control.size]', (order, bytes) => {
    const at = { control: (order << 1) | 1, base: 0x40 }
    const last = 0x10_0000 + bytes / 1024 - 4
    const filled = new Sparse({ [last]: 0x00202003 })
    expect(walk(filled, at, 0x8000_0000 + bytes - 1)).toEqual({
      frame: 0x202,
      shift: 12,
      rights: 3,
      steps: [`${last.toString(16)}: 00202003`],
    })
    expect(walk(filled, at, 0x7fff_ffff).steps).toEqual([])
    expect(walk(filled, at, 0x8000_0000 + bytes).steps).toEqual([])
  })

  test('order 7 is reserved: nothing is inside [gart.control.order-7]', () => {
    for (const address of [0, 0xc0000000, 0xffffffff])
      expect(walk(memory, { control: 0x0f }, address).steps).toEqual([])
  })

  test('base bits below the size are not compared [gart.base.aligned]', () => {
    // 256 MiB: bits 27:25 of 0xD6000000 do not count.
    const at = { control: 0x07, base: 0x6b }
    expect(walk(memory, at, 0xd0000000)).toMatchObject({ frame: 0x200, shift: 12 })
    expect(walk(memory, at, 0xcfffffff).steps).toEqual([])
    expect(walk(memory, at, 0xe0000000).steps).toEqual([])
  })

  test('an aperture above 4 GiB, at the top of the 40 bits', () => {
    const at = { base: 0x7fff }
    expect(walk(memory, at, 0xff_fe00_0000n)).toMatchObject({ frame: 0x200, shift: 12 })
    expect(walk(memory, at, 0xff_ffff_ffffn)).toMatchObject({ frame: 0x201, shift: 12 })
    expect(walk(memory, at, 0xff_fdff_ffffn).shift).toBe(0)
  })
})

describe('the entry', () => {
  test('4 bytes a page from F3x98 on [gart.table.flat, gart.table.address]', () => {
    const memory = new Sparse({ 0xab_cdef_0000: 0x1003, 0xab_cdef_1008: 0x2003, 0xab_cdef_100c: 0x3003 })
    const table = 0xabcdef00
    expect(walk(memory, { table }, 0xc0000000)).toMatchObject({ frame: 1, steps: ['abcdef0000: 00001003'] })
    expect(walk(memory, { table }, 0xc0402000)).toMatchObject({ frame: 2, steps: ['abcdef1008: 00002003'] })
    expect(walk(memory, { table }, 0xc0403000)).toMatchObject({ frame: 3, steps: ['abcdef100c: 00003003'] })
  })

  test('address 39:32 in bits 11:4, 31:12 in 31:12; nothing reaches 1 TiB [gart.pte.address, gart.pte.reach]', () => {
    const memory = new Sparse({ 0x100000: 0x87654a93, 0x100004: 0xfffffff1 })
    expect(walk(memory, {}, 0xc0000000)).toMatchObject({ frame: 0xa987654, shift: 12, rights: 3 })
    expect(walk(memory, {}, 0xc0001000)).toMatchObject({ frame: 0xfffffff, shift: 12, rights: 3 })
  })

  test('bit 0 clear: not valid, whatever else is in it [gart.pte.valid]', () => {
    const memory = new Sparse({ 0x100000: 0xfffffffe, 0x100004: 0x00000000, 0x100008: 0x00200002 })
    for (const page of [0, 1, 2]) expect(walk(memory, {}, 0xc0000000 + page * 4096).frame).toBe(-1)
    expect(gart.faultNames[1]).toBe('invalid entry')
  })

  test('both rights, always [gart.access.no-rights]', () => {
    const memory = new Sparse({ 0x100000: 0x00200001, 0x100004: 0x0020000f })
    for (const page of [0, 1]) expect(walk(memory, {}, 0xc0000000 + page * 4096)).toMatchObject({ rights: 3 })
  })

  test('bits 3:2 are not looked at [gart.pte.reserved]', () => {
    const memory = new Sparse({ 0x100000: 0x0020000d })
    expect(walk(memory, {}, 0xc0000000)).toMatchObject({ frame: 0x200, shift: 12 })
  })

  test('bit 1 is told [gart.pte.coherent]', () => {
    const walker = new GartWalk(new Sparse({ 0x100000: 0x00200003, 0x100004: 0x00201001 }))
    const coherent = [0, 1].map((page) => {
      walker.page(0x100, page)
      return [walker.coherent, walker.entry]
    })
    expect(coherent).toEqual([
      [true, 0x200003],
      [false, 0x201001],
    ])
  })

  test('memory that fails: where and how [gart.table.memory-failure]', () => {
    const memory = new Sparse({ 0xab_cdef_0000: 0x1003 })
    memory.absent.add(0xab_cdef_0004)
    memory.poisoned.add(0xab_cdef_0008)
    const walker = new GartWalk(memory)
    const outcome = [0, 1, 2].map((page) => {
      const frame = walker.page(0xabcdef0, page)
      return [frame, walker.failedHi, walker.failedLo >>> 0, walker.failedType]
    })
    expect(outcome).toEqual([
      [1, 0, 0, 0],
      [-2, 0xab, 0xcdef_0004, -1],
      [-2, 0xab, 0xcdef_0008, -2],
    ])
    expect(gart.faultNames[2]).toBe('table not readable')
    expect(walker.reads).toBe(1)
  })

  test('a memory of 8-byte entries serves too: the pair fails as one', () => {
    const words = Int32Array.of(0x1003, 0x2003)
    const pairs: TableMemory = { words, entryAt: (_mfn, index) => (index === 0 ? 0 : -2) }
    const walker = new GartWalk(pairs)
    expect([0, 1, 2, 3].map((page) => walker.page(0x100, page))).toEqual([1, 2, -2, -2])
  })
})
