import { describe, expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { Board, DEVICES, IOVA, L4, PAGE_A, RW } from './board.ts'

/** The device table (facts B.3): its decision table, its reserved bits, its size. Events are dw1:dw0 and dw3:dw2 (B.6). */

/** Outcome of a read and a write at PAGE_A, and what was logged, for function 00:01.0 with the given entry. */
function outcome(quadwords: bigint[], address = PAGE_A, personality = amdviPersonalities.hats6) {
  const board = new Board({ personality })
  board.entry(8, ...quadwords)
  board.tables(BigInt(PAGE_A) | RW | 1n)
  board.turnOn()
  const device = board.device()
  return [device.read(address, 8), device.put(address, 1n), ...board.events()]
}

describe('decision table for DMA (B.3)', () => {
  test('IommuEn = 0: everything passes [amdvi.dte.off]', () => {
    const board = new Board()
    expect([board.device().put(PAGE_A, 1n), board.events()]).toEqual([1, []])
  })

  test('V = 0: passes untranslated, IR and IW are ignored, nothing is logged [amdvi.dte.v0]', () => {
    expect(outcome([0n, 0n])).toEqual([1, 1])
    expect(outcome([0x7ffffffffffffffen, 0xffffffffffffffffn])).toEqual([1, 1])
  })

  test('the trap: in a zeroed table everything passes [amdvi.dte.v0]', () => {
    const board = new Board()
    board.turnOn()
    expect(board.device(16).put(PAGE_A, 1n)).toBe(1)
  })

  test('V = 1, TV = 0: the walk is terminated: IO_PAGE_FAULT, PR = 0 (as in VirtualBox; QEMU lets it pass) [amdvi.dte.tv0]', () => {
    expect(outcome([RW | 1n | BigInt(L4) | 0x800n, 5n])).toEqual([
      -1,
      -1,
      '2000000500000008 0000000000100000',
      '2020000500000008 0000000000100000',
    ])
  })

  test('V = 1, TV = 1, Mode = 0: passes with IR and IW as the only check [amdvi.dte.mode0]', () => {
    expect(outcome([RW | 3n, 5n])).toEqual([1, 1])
    expect(outcome([0x2000000000000003n, 5n])).toEqual([1, -1, '2070000500000008 0000000000100000'])
    expect(outcome([0x4000000000000003n, 5n])).toEqual([-1, 1, '2050000500000008 0000000000100000'])
  })

  test('V = 1, TV = 1, Mode = 0, IR = IW = 0: everything is blocked, as software prefills [amdvi.dte.mode0]', () => {
    expect(outcome([3n, 0n])).toEqual([
      -1,
      -1,
      '2050000000000008 0000000000100000',
      '2070000000000008 0000000000100000',
    ])
  })

  test.each([
    ['hats4', 4, [5, 6, 7]],
    ['hats5', 5, [6, 7]],
    ['hats6', 6, [7]],
    ['qemu', 6, [7]],
  ] as const)(
    '%s walks up to %i levels; Mode 7 and more levels than HATS says are IO_PAGE_FAULT with RZ (B.3: a choice) [amdvi.dte.mode]',
    (name, levels, refused) => {
      const personality = amdviPersonalities[name]
      const entry = (mode: number) => [RW | 3n | BigInt(L4) | (BigInt(mode) << 9n), 5n]
      for (const mode of refused) {
        expect(outcome(entry(mode), IOVA, personality)).toEqual([
          -1,
          -1,
          '2090000500000008 0000000000200000',
          '20b0000500000008 0000000000200000',
        ])
      }
      // The root's entry leads to level 3, so that it serves as one of 5 or 6 levels too.
      for (let mode = 4; mode <= levels; mode++) expect(outcome(entry(mode), IOVA, personality)).toEqual([2, 2])
    },
  )

  test('rights of the entry are checked before Mode (B.4), and limit what the tables grant [amdvi.dte.order, amdvi.walk.rights]', () => {
    expect(outcome([3n | (7n << 9n), 5n])).toEqual([
      -1,
      -1,
      '2050000500000008 0000000000100000',
      '2070000500000008 0000000000100000',
    ])
    expect(outcome([0x2000000000000803n | BigInt(L4), 5n], IOVA)).toEqual([2, -1, '2070000500000008 0000000000200000'])
    expect(outcome([0x4000000000000803n | BigInt(L4), 5n], IOVA)).toEqual([-1, 2, '2050000500000008 0000000000200000'])
  })

  test('two functions of one domain share translations, and keep their own rights [amdvi.dte.domain]', () => {
    const board = new Board()
    board.ordinary()
    board.entry(16, BigInt(L4) | 0x2000000000000803n, 1n)
    board.turnOn()
    const [first, second] = [board.device(8), board.device(16)]
    expect([first.put(IOVA, 1n), second.read(IOVA, 8), second.put(IOVA, 1n), first.put(IOVA, 1n)]).toEqual([
      2, 2, -1, 2,
    ])
    expect(board.events()).toEqual(['2070000100000010 0000000000200000'])
  })
})

describe('reserved bits are ILLEGAL_DEV_TABLE_ENTRY with RZ, of the half that is valid (B.3, B.6) [amdvi.dte.reserved, amdvi.event.illegal-entry]', () => {
  const reserved = [2n, 3n, 4n, 5n, 6n, 63n]
  test.each(reserved)('quadword 0, bit %i', (bit) => {
    expect(outcome([RW | 3n | BigInt(L4) | 0x800n | (1n << bit), 5n], IOVA + 0xf)).toEqual([
      -1,
      -1,
      '1080000000000008 000000000020000c',
      '10a0000000000008 000000000020000c',
    ])
  })

  test('they come before TV and rights [amdvi.dte.order]', () => {
    expect(outcome([1n | (1n << 63n), 5n])).toEqual([
      -1,
      -1,
      '1080000000000008 0000000000100000',
      '10a0000000000008 0000000000100000',
    ])
  })

  test.each([
    [
      'quadword 0, 60:52: page requests and guest translation, not looked at',
      [RW | 3n | BigInt(L4) | 0x800n | 0x1ff0000000000000n, 5n, 0n, 0n],
    ],
    ['quadword 0, 8:7: HAD', [RW | 3n | BigInt(L4) | 0x980n, 5n, 0n, 0n]],
    ['quadword 1 has none', [RW | 3n | BigInt(L4) | 0x800n, 0xfffffffffff00005n & ~0x600000000n, 0n, 0n]],
    [
      'quadwords 2 and 3 concern interrupts',
      [RW | 3n | BigInt(L4) | 0x800n, 5n, 0xfffffffffffffffen, 0xffffffffffffffffn],
    ],
  ])('%s [amdvi.dte.ignored]', (_name, quadwords) => {
    expect(outcome(quadwords, IOVA)).toEqual([2, 2])
  })
})

describe('size of the table: (size + 1) × 4096 bytes, 32 bytes an entry (B.2) [amdvi.dte.size, amdvi.register.device-table]', () => {
  test('a requester beyond it is IO_PAGE_FAULT without a domain (B.3: a choice, as VirtualBox) [amdvi.dte.beyond]', () => {
    const board = new Board()
    board.store(DEVICES + 128 * 32, RW | 3n, 5n)
    board.turnOn()
    expect([
      board.device(127).put(PAGE_A, 1n),
      board.device(128).put(PAGE_A, 1n),
      board.device(129).read(PAGE_A, 8),
    ]).toEqual([1, -1, -1])
    expect(board.events()).toEqual(['2020000000000080 0000000000100000', '2000000000000081 0000000000100000'])
  })

  test('size 1: 256 entries, one bus; a device of bus 1 is beyond [amdvi.dte.beyond]', () => {
    const board = new Board()
    const bus = board.machine.pci.addBridge(0, 0xf8, 'root-port')
    board.machine.pci.configWrite(0xf8, 4, 2, 4)
    board.turnOn({ pages: 2 })
    expect([board.device(255).put(PAGE_A, 1n), board.device(0, bus).put(PAGE_A, 1n)]).toEqual([1, -1])
    expect(board.events()).toEqual(['2020000000000100 0000000000100000'])
  })

  test('a base above 4 GiB', () => {
    const board = new Board()
    board.store(2 ** 32 + 8 * 32, RW | 3n, 5n)
    board.write64(0x00, 0x100000000n)
    board.write64(0x18, 1n)
    board.store(2 ** 32 + 16 * 32, 3n, 0n)
    expect([board.device().put(PAGE_A, 1n), board.device(16).put(PAGE_A, 1n)]).toEqual([1, -1])
  })
})
