import { describe, expect, test } from 'vitest'
import { MachineTables, type TableMemory } from '../../src/walk.ts'
import { Board, COMMANDS, INTERRUPTS, IOVA, L1, L2, L3, L4, RW, STATUS } from './board.ts'

/**
 * Memory that fails (facts B.6, I): nobody answers (type 1, master abort) or the data are poisoned (type 3). Codes 3, 4 and 6 exist only
 * for that.
 */
class Failing implements TableMemory {
  readonly words: Int32Array
  readonly #inner: MachineTables
  /** Byte addresses of entries that are poisoned. */
  readonly poisoned = new Set<number>()

  constructor(inner: MachineTables) {
    this.words = inner.words
    this.#inner = inner
  }

  entryAt(mfn: number, index: number): number {
    return this.poisoned.has(mfn * 4096 + index * 8) ? -2 : this.#inner.entryAt(mfn, index)
  }
}

function board(): { made: Board; memory: Failing } {
  let memory: Failing | undefined
  const made = new Board({ tables: (machine) => (memory = new Failing(new MachineTables(machine.memory))) })
  made.ordinary()
  made.turnOn()
  return { made, memory: memory! }
}

describe('DEV_TAB_HARDWARE_ERROR: address of the entry, type in the flags [amdvi.event.device-table]', () => {
  test('no RAM where the table is said to be', () => {
    const made = new Board()
    made.write64(0x00, 0x0000_00f0_0000_0000n)
    made.write64(0x10, 0x08000000_00038000n)
    made.write64(0x18, 0x5n)
    const device = made.device()
    expect([device.read(IOVA, 8), device.put(IOVA, 1n), device.message(0x41)]).toEqual([-1, -1, -1])
    expect(made.events()).toEqual([
      '3200000000000008 000000f000000100',
      '3220000000000008 000000f000000100',
      '3208000000000008 000000f000000100',
    ])
  })

  test.each([0, 1, 2, 3])('poison in quadword %i of the entry, which is read whole', (quadword) => {
    const { made, memory } = board()
    memory.poisoned.add(0x10000 + 8 * 32 + 8 * quadword)
    const device = made.device()
    expect([device.read(IOVA, 8), device.message(0x41)]).toEqual([-1, -1])
    expect(made.events()).toEqual(['3600000000000008 0000000000010100', '3608000000000008 0000000000010100'])
  })
})

describe('PAGE_TAB_HARDWARE_ERROR: address of the entry, domain, type [amdvi.event.page-table]', () => {
  test.each([
    [4, L4],
    [3, L3],
    [2, L2 + 8],
    [1, L1],
  ])('poison at level %i', (_level, at) => {
    const { made, memory } = board()
    memory.poisoned.add(at)
    const device = made.device()
    const address = at.toString(16).padStart(16, '0')
    expect([device.read(IOVA, 8), device.put(IOVA, 1n)]).toEqual([-1, -1])
    expect(made.events()).toEqual([`4600000100000008 ${address}`, `4620000100000008 ${address}`])
    // It is not remembered.
    memory.poisoned.clear()
    expect(device.put(IOVA, 1n)).toBe(2)
  })

  test('a table where there is no RAM', () => {
    const { made } = board()
    made.store(L2 + 8, 0xfffff_fffff000n | RW | 0x201n)
    expect([made.device().put(IOVA, 1n), made.events()]).toEqual([-1, ['4220000100000008 000ffffffffff000']])
  })

  test('a table above 8 TiB: its own address, though no cache holds it', () => {
    const { made } = board()
    made.entry(8, 0x0009_8765_4321_0000n | RW | 0x803n, 1n)
    const device = made.device()
    for (let i = 0; i < 2; i++) expect(device.read(IOVA, 8)).toBe(-1)
    // Another requester in between, so that the entry is read again.
    made.device(16).read(0xf0000000, 8)
    expect(device.read(IOVA, 8)).toBe(-1)
    expect(made.events()).toEqual(Array.from({ length: 3 }, () => '4200000100000008 0009876543210000'))
  })

  test('an interrupt table there, and one of 16-byte entries whose second half is poison [amdvi.irte.read-error]', () => {
    const { made, memory } = board()
    made.entry(8, 3n, 5n, 1n | (9n << 1n) | 0x0009_8765_4321_0000n | (2n << 60n))
    const device = made.device()
    expect([device.message(3), device.message(3)]).toEqual([-1, -1])
    made.entry(8, 3n, 5n, 1n | (9n << 1n) | BigInt(INTERRUPTS) | (2n << 60n))
    made.write(0x18, 0x21405)
    memory.poisoned.add(INTERRUPTS + 3 * 16 + 8)
    expect([device.message(3), made.events()]).toEqual([
      -1,
      ['4208000500000008 0009876543210008', '4208000500000008 0009876543210008', '4608000500000008 0000000000034030'],
    ])
  })

  test('SE and SA do not concern it [amdvi.event.suppress-scope]', () => {
    const { made, memory } = board()
    made.entry(8, BigInt(L4) | RW | 0x803n, 0x6_0000_0001n)
    memory.poisoned.add(L4)
    expect([made.device().read(IOVA, 8), made.events()]).toEqual([-1, ['4600000100000008 0000000000020000']])
  })

  test('an interrupt table that cannot be read (a choice: the specification names no event for it) [amdvi.irte.read-error]', () => {
    const { made, memory } = board()
    made.entry(8, 3n, 5n, 1n | (9n << 1n) | BigInt(INTERRUPTS) | (2n << 60n))
    memory.poisoned.add(INTERRUPTS + 8)
    expect([made.device().message(3), made.events()]).toEqual([-1, ['4608000500000008 0000000000034008']])
  })
})

describe('COMMAND_HARDWARE_ERROR: the buffer stops [amdvi.event.command, amdvi.command.halt]', () => {
  test.each([
    [
      'a poisoned command',
      (made: Board, memory: Failing) => memory.poisoned.add(COMMANDS + 16) && made.queue(0, 0x10000000),
      COMMANDS + 16,
      '6600000000000000',
    ],
    [
      'a store of COMPLETION_WAIT to no RAM',
      (made: Board) => made.queue(0xf0000001 | 0, 0x10000000, 1),
      0xf0000000,
      '6200000000000000',
    ],
    [
      'a store to poison',
      (made: Board, memory: Failing) => memory.poisoned.add(STATUS + 8) && made.queue((STATUS + 8) | 1, 0x10000000, 1),
      STATUS + 8,
      '6600000000000000',
    ],
  ] as const)('%s', (_name, prepare, address, first) => {
    const { made, memory } = board()
    made.queue(0, 0x10000000)
    prepare(made, memory)
    made.queue(STATUS | 1, 0x10000000, 1)
    made.tell()
    made.elapse(20_000)
    expect(made.events()).toEqual([`${first} ${address.toString(16).padStart(16, '0')}`])
    expect([made.read(0x2000), made.read(0x2020) & 0x10, made.load(STATUS)]).toEqual([16, 0, 0n])
  })

  test('a buffer where there is no RAM', () => {
    const made = new Board()
    made.write64(0x08, 0x080000f0_fffff000n)
    made.write64(0x10, 0x08000000_00038000n)
    made.write64(0x18, 0x1005n)
    made.write(0x2008, 0x20)
    made.elapse(1000)
    expect(made.events()).toEqual(['6200000000000000 000000f0fffff000'])
  })
})

test('an event log where there is no RAM: the tail moves, the entry is lost [amdvi.event.log-error]', () => {
  const made = new Board()
  made.entry(8, 3n)
  made.write64(0x00, 0x10000n)
  made.write64(0x10, 0x080000f0_00000000n)
  made.write64(0x18, 0x5n)
  expect([made.device().read(IOVA, 8), made.read(0x2018), made.read(0x2020)]).toEqual([-1, 16, 0xa])
})
