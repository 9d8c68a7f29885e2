import { describe, expect, test } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, L2, L3, L4, PAGE_A, ROOT } from './board.ts'

/** Legacy-mode fault reasons, each by a table that is wrong in one place (facts A.2, A.3). Device 00:01.0, requester id 8. */
const BLOCKED = -1
const ABSENT_RAM = 0x900000n

type Access = 'read' | 'write'

function outcome(board: Board, access: Access, address: number | bigint = IOVA): number {
  const device = board.device()
  return access === 'read' ? device.read(address, 8) : device.put(address, 1n)
}

/** Makes one access and expects exactly one record of it. */
function expectFault(board: Board, reason: number, access: Access = 'read', address: number | bigint = IOVA): void {
  expect(outcome(board, access, address)).toBe(BLOCKED)
  expect(board.faults()).toEqual([
    { reason, requester: 8, address: BigInt(address) & ~0xfffn, read: access === 'read' },
  ])
  expect(board.read(0x34)).toBe(0)
}

function board(change: (board: Board) => void = () => {}, personality = vtdPersonalities.qemu48): Board {
  const made = new Board({ personality })
  made.ordinary()
  change(made)
  made.turnOn()
  return made
}

test('the unchanged tables translate (A.2)', () => {
  const made = board()
  expect(made.device().put(IOVA + 0x567, 0x1122334455667788n)).toBe(2)
  expect(made.load(PAGE_A + 0x560) >> 56n).toBe(0x88n)
  expect(made.faults()).toEqual([])
})

describe('reasons of the root and context entry (A.3)', () => {
  test('1: root entry not present', () =>
    expectFault(
      board((b) => b.store(ROOT, 0n)),
      1,
    ))
  test('1 before A: reserved bits of an absent root entry do not count', () =>
    expectFault(
      board((b) => b.store(ROOT, 0xffen, -1n & 0xffffffffffffffffn)),
      1,
    ))
  test('8: the root table cannot be read', () => {
    const made = new Board()
    made.write64(0x20, ABSENT_RAM)
    made.write(0x18, 0x40000000)
    made.until(0x1c, 0x40000000, 0x40000000)
    made.write(0x18, 0x80000000)
    made.until(0x1c, 0x80000000, 0x80000000)
    expectFault(made, 8)
  })
  test.each([
    ['bit 1', 0x2n, 0n],
    ['bit 11', 0x800n, 0n],
    ['bit 48, above the host width', 1n << 48n, 0n],
    ['bit 63', 1n << 63n, 0n],
    ['bit 0 of the upper quadword', 0n, 1n],
    ['bit 63 of the upper quadword', 0n, 1n << 63n],
  ])('A: reserved %s of a present root entry', (_name, low, high) =>
    expectFault(
      board((b) => b.store(ROOT, BigInt(CONTEXT) | 1n | low, high)),
      0xa,
    ),
  )
  test('9: the context table cannot be read', () =>
    expectFault(
      board((b) => b.store(ROOT, ABSENT_RAM | 1n, 0n)),
      9,
    ))
  test('9: a context table beyond 2^43 does not alias a lower one', () =>
    expectFault(
      board((b) => b.store(ROOT, BigInt(CONTEXT) | 1n | (1n << 44n), 0n)),
      9,
    ))
  test('2: context entry not present', () =>
    expectFault(
      board((b) => b.context(8, 0n, 0n)),
      2,
    ))
  test('2 before B: reserved bits of an absent context entry do not count', () =>
    expectFault(
      board((b) => b.context(8, 0xff0n, 0xffffffffffn << 24n)),
      2,
    ))
  test.each([
    ['bit 4', 0x10n, 0n],
    ['bit 11', 0x800n, 0n],
    ['bit 48, above the host width', 1n << 48n, 0n],
    ['bit 7 of the upper quadword', 0n, 0x80n],
    ['bit 24 of the upper quadword', 0n, 1n << 24n],
    ['bit 63 of the upper quadword', 0n, 1n << 63n],
  ])('B: reserved %s of a present context entry', (_name, low, high) =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n | low, 0x102n | high)),
      0xb,
    ),
  )
  test('B: domain id bits that a unit with 256 domains lacks', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n, 0x10002n), vtdPersonalities['sandybridge-ep']),
      0xb,
    ))
  test('B before 3: reserved bits are looked at before width and type', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 0x1dn, 0x107n)),
      0xb,
    ))
  test('3: width code 3 (57 bits) that SAGAW does not offer', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n, 0x103n)),
      3,
    ))
  test('3: width code 1 (39 bits) on a unit with 48 bits only', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L3) | 1n, 0x101n), vtdPersonalities['sandybridge-ep']),
      3,
    ))
  test('3: type 3 is reserved', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 0xdn, 0x102n)),
      3,
    ))
  test('3: type 1 (device TLB) without ECAP.DT', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 0x5n, 0x102n)),
      3,
    ))
  test('3: type 2 (pass-through) without ECAP.PT', () =>
    expectFault(
      board((b) => b.context(8, 0x9n, 0x102n), vtdPersonalities['nehalem-ep']),
      3,
    ))
  test('3: pass-through with a width that the unit does not have', () =>
    expectFault(
      board((b) => b.context(8, 0x9n, 0x100n)),
      3,
    ))
  test('3: the top table cannot be read', () =>
    expectFault(
      board((b) => b.context(8, ABSENT_RAM | 1n, 0x102n)),
      3,
    ))
  test('3: a top table beyond 2^43 does not alias a lower one', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n | (1n << 46n), 0x102n)),
      3,
    ))
})

describe('reasons of the address and the paging entries (A.3)', () => {
  test.each([[1n << 48n], [1n << 63n], [(1n << 48n) + BigInt(IOVA)]])('4: address 0x%s is beyond 48 bits', (address) =>
    expectFault(board(), 4, 'write', address),
  )
  test('4: an address beyond 39 bits in a table of three levels', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L3) | 1n, 0x101n)),
      4,
      'read',
      1n << 39n,
    ))
  test('three levels translate below 2^39 (A.2)', () =>
    expect(
      outcome(
        board((b) => b.context(8, BigInt(L3) | 1n, 0x101n)),
        'read',
      ),
    ).toBe(2))
  test.each([
    ['L4', L4],
    ['L3', L3],
    ['L2', L2 + 8],
    ['L1', L1],
  ])('6 for a read and 5 for a write of an absent %s entry', (_level, entry) => {
    expectFault(
      board((b) => b.store(entry, 0n)),
      6,
      'read',
    )
    expectFault(
      board((b) => b.store(entry, 0n)),
      5,
      'write',
    )
  })
  test.each([
    ['L4', L4, L3],
    ['L3', L3, L2],
    ['L2', L2 + 8, L1],
    ['L1', L1, PAGE_A],
  ])('rights are those of every level: %s alone can refuse a write (5) or a read (6)', (_level, entry, next) => {
    expectFault(
      board((b) => b.store(entry, BigInt(next) | 1n)),
      5,
      'write',
    )
    expect(
      outcome(
        board((b) => b.store(entry, BigInt(next) | 1n)),
        'read',
      ),
    ).toBe(2)
    expectFault(
      board((b) => b.store(entry, BigInt(next) | 2n)),
      6,
      'read',
    )
    expect(
      outcome(
        board((b) => b.store(entry, BigInt(next) | 2n)),
        'write',
      ),
    ).toBe(2)
  })
  test.each([
    ['L4', L4],
    ['L3', L3],
    ['L2', L2 + 8],
  ])('7: the table that an %s entry leads to cannot be read', (_level, entry) =>
    expectFault(
      board((b) => b.store(entry, ABSENT_RAM | 3n)),
      7,
    ),
  )
  test('7: a table beyond 2^43 does not alias a lower one', () =>
    expectFault(
      board((b) => b.store(L3, BigInt(L2) | 3n | (1n << 45n))),
      7,
    ))
  test.each([
    ['L4', L4, L3, 0x880n],
    ['L3', L3, L2, 0x800n],
    ['L2', L2 + 8, L1, 0x800n],
    ['L1', L1, PAGE_A, 0x800n],
  ])(
    'C: bits 62, 48…51, SNP without ECAP.SC, and PS in L4 are reserved in a present %s entry',
    (_level, entry, next, low) => {
      for (const bit of [
        1n << 62n,
        1n << 48n,
        1n << 51n,
        ...[7n, 11n].map((n) => (1n << n) & low).filter((mask) => mask !== 0n),
      ]) {
        expectFault(
          board((b) => b.store(entry, BigInt(next) | 3n | bit)),
          0xc,
        )
      }
    },
  )
  test('5 or 6 before C: an absent entry with reserved bits set', () => {
    expectFault(
      board((b) => b.store(L2 + 8, 0x4000000000000800n)),
      6,
      'read',
    )
    expectFault(
      board((b) => b.store(L1, 0x4000000000000800n)),
      5,
      'write',
    )
  })
  test('5 before C: an entry without the right and with reserved bits', () =>
    expectFault(
      board((b) => b.store(L1, BigInt(PAGE_A) | 0x801n)),
      5,
      'write',
    ))
  test('C before 7: reserved bits of an entry count before its table is read', () =>
    expectFault(
      board((b) => b.store(L3, ABSENT_RAM | 0x4000000000000003n)),
      0xc,
    ))
  test('ignored bits 2…6, 7 of a 4K leaf, 8…10, 52…61 and 63 change nothing (A.2)', () =>
    expect(
      outcome(
        board((b) => b.store(L1, BigInt(PAGE_A) | 3n | 0x77cn | (0x3ffn << 52n) | (1n << 63n))),
        'write',
      ),
    ).toBe(2))
  test('SNP is legal in a leaf with ECAP.SC, and in a leaf only (A.2)', () => {
    const silicon = vtdPersonalities['sandybridge-ep']
    expect(
      outcome(
        board((b) => b.store(L1, BigInt(PAGE_A) | 0x803n), silicon),
        'read',
      ),
    ).toBe(2)
    expectFault(
      board((b) => b.store(L2 + 8, BigInt(L1) | 0x803n), silicon),
      0xc,
    )
  })
  test('C: bits above the host width of 46 of real silicon', () =>
    expectFault(
      board((b) => b.store(L1, BigInt(PAGE_A) | 3n | (1n << 46n)), vtdPersonalities['sandybridge-ep']),
      0xc,
    ))
  test('E: the output lies in the interrupt window', () => {
    expectFault(
      board((b) => b.store(L1, 0xfee00003n)),
      0xe,
      'write',
    )
    expectFault(
      board((b) => b.store(L1, 0xfeeff003n)),
      0xe,
      'read',
    )
  })
  test('a leaf beside the interrupt window is no fault, but nothing answers there', () => {
    expect(
      outcome(
        board((b) => b.store(L1, 0xfedff003n)),
        'read',
      ),
    ).toBe(-2)
    expect(
      outcome(
        board((b) => b.store(L1, 0xfef00003n)),
        'read',
      ),
    ).toBe(-2)
  })
  test('a leaf beyond 2^43 does not alias RAM: nothing answers there', () => {
    const made = board((b) => b.store(L1, BigInt(PAGE_A) | 3n | (1n << 44n)))
    expect(outcome(made, 'write')).toBe(-2)
    expect(made.load(PAGE_A)).toBe(0n)
    expect(made.faults()).toEqual([])
  })
})

describe('large leaves (A.2)', () => {
  const leaf2M = (b: Board, value: bigint) => b.store(L2 + 8, value)
  const leaf1G = (b: Board, value: bigint) => b.store(L3, value)
  test('2M: bits 20…12 of the address come from the request', () => {
    const made = board((b) => leaf2M(b, 0x000083n))
    const device = made.device()
    expect(device.put(IOVA + PAGE_A + 8, 5n)).toBe(2)
    expect(made.load(PAGE_A + 8)).toBe(5n)
  })
  test('1G: bits 29…12 of the address come from the request', () => {
    const made = board((b) => leaf1G(b, 0x83n))
    expect(made.device().put(PAGE_A + 16, 6n)).toBe(2)
    expect(made.load(PAGE_A + 16)).toBe(6n)
  })
  test('C: address bits inside a large leaf are reserved', () => {
    for (const bit of [12n, 20n])
      expectFault(
        board((b) => leaf2M(b, 0x83n | (1n << bit))),
        0xc,
      )
    for (const bit of [12n, 21n, 29n])
      expectFault(
        board((b) => leaf1G(b, 0x83n | (1n << bit))),
        0xc,
      )
  })
  test('C: PS on a unit without large pages', () => {
    expectFault(
      board((b) => leaf2M(b, 0x83n), vtdPersonalities['nehalem-ep']),
      0xc,
    )
    expectFault(
      board((b) => leaf1G(b, 0x83n), vtdPersonalities['nehalem-ep']),
      0xc,
    )
  })
  test('E: decided by the page that is accessed, not by the whole leaf', () => {
    const made = board((b) => leaf2M(b, 0xfee00083n))
    const device = made.device()
    expect(device.read(IOVA + 0x100000, 8)).toBe(-2)
    expect(device.read(IOVA, 8)).toBe(BLOCKED)
    expect(made.faults()).toMatchObject([{ reason: 0xe }])
    // Now from the translation cached by the first access.
    expect(device.read(IOVA + 0xff000, 8)).toBe(BLOCKED)
    expect(made.faults()).toMatchObject([{ reason: 0xe }])
  })
})

test('the order is context, then range, then tables: 2 before 4 before 6 (A.3)', () => {
  expectFault(
    board((b) => b.context(8, 0n, 0n)),
    2,
    'read',
    1n << 60n,
  )
  expectFault(
    board((b) => b.store(L4, 0n)),
    4,
    'read',
    1n << 60n,
  )
})

test('a DMA that crosses into a bad page moves what lies before it, and one fault is recorded (I)', () => {
  const made = board((b) => b.store(L1 + 8, 0n))
  const device = made.device()
  expect(device.write(IOVA + 0xff8, new Uint8Array(16).fill(0xab))).toBe(BLOCKED)
  expect(made.load(PAGE_A + 0xff8)).toBe(0xababababababababn)
  expect(made.faults()).toEqual([{ reason: 5, requester: 8, address: BigInt(IOVA + 0x1000), read: false }])
})

test('a zero-length read passes on a write-only page with ZLR, and on no absent one (A.2)', () => {
  const writeOnly = board((b) => b.store(L1, BigInt(PAGE_A) | 2n), vtdPersonalities['sandybridge-ep'])
  const device = writeOnly.device()
  expect(device.read(IOVA, 0)).toBe(2)
  expect(device.read(IOVA, 1)).toBe(BLOCKED)
  expect(device.read(IOVA + 0x1000, 0)).toBe(BLOCKED)
  expect(writeOnly.faults().map(({ reason }) => reason)).toEqual([6, 6])
  const without = board((b) => b.store(L1, BigInt(PAGE_A) | 2n))
  expect(without.device().read(IOVA, 0)).toBe(BLOCKED)
  expect(without.faults().map(({ reason }) => reason)).toEqual([6])
})
