import { describe, expect, test } from 'vitest'
import { vtdPersonalities } from '../../src/hardware.ts'
import { Board, CONTEXT, IOVA, L1, L2, L3, L4, PAGE_A, PAGE_B, ROOT } from './board.ts'
import { custom } from './personality.ts'

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

test('the unchanged tables translate [vtd.root.format, vtd.context.format, vtd.page.format, vtd.context.width]', () => {
  const made = board()
  expect(made.device().put(IOVA + 0x567, 0x1122334455667788n)).toBe(2)
  expect(made.load(PAGE_A + 0x560) >> 56n).toBe(0x88n)
  expect(made.faults()).toEqual([])
})

describe('reasons of the root and context entry (A.3)', () => {
  test('1: root entry not present [vtd.fault.reason-1]', () =>
    expectFault(
      board((b) => b.store(ROOT, 0n)),
      1,
    ))
  test('1 before A: reserved bits of an absent root entry do not count [vtd.fault.order.root]', () =>
    expectFault(
      board((b) => b.store(ROOT, 0xffen, -1n & 0xffffffffffffffffn)),
      1,
    ))
  test('8: the root table cannot be read [vtd.fault.reason-8]', () => {
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
  ])('A: reserved %s of a present root entry [vtd.fault.reason-a, vtd.root.reserved]', (_name, low, high) =>
    expectFault(
      board((b) => b.store(ROOT, BigInt(CONTEXT) | 1n | low, high)),
      0xa,
    ),
  )
  test('9: the context table cannot be read [vtd.fault.reason-9]', () =>
    expectFault(
      board((b) => b.store(ROOT, ABSENT_RAM | 1n, 0n)),
      9,
    ))
  test('9: a context table beyond 2^43 does not alias a lower one [vtd.walk.frames]', () =>
    expectFault(
      board((b) => b.store(ROOT, BigInt(CONTEXT) | 1n | (1n << 44n), 0n)),
      9,
    ))
  test('2: context entry not present [vtd.fault.reason-2]', () =>
    expectFault(
      board((b) => b.context(8, 0n, 0n)),
      2,
    ))
  test('2 before B: reserved bits of an absent context entry do not count [vtd.fault.order.root]', () =>
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
  ])('B: reserved %s of a present context entry [vtd.fault.reason-b, vtd.context.reserved]', (_name, low, high) =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n | low, 0x102n | high)),
      0xb,
    ),
  )
  test('B: domain id bits that a unit with 256 domains lacks [vtd.context.reserved]', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n, 0x10002n), vtdPersonalities['sandybridge-ep']),
      0xb,
    ))
  test('B before 3: reserved bits are looked at before width and type [vtd.fault.order.root]', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 0x1dn, 0x107n)),
      0xb,
    ))
  test('3: width code 3 (57 bits) that SAGAW does not offer [vtd.fault.reason-3, vtd.page.levels]', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n, 0x103n)),
      3,
    ))
  test('3: width code 1 (39 bits) on a unit with 48 bits only', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L3) | 1n, 0x101n), vtdPersonalities['sandybridge-ep']),
      3,
    ))
  test('3: type 3 is reserved [vtd.context.translation-type]', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 0xdn, 0x102n)),
      3,
    ))
  test('3: type 1 (device TLB) without ECAP.DT [vtd.context.translation-type]', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 0x5n, 0x102n)),
      3,
    ))
  test('type 1 with ECAP.DT translates as type 0 does [vtd.context.translation-type]', () =>
    expect(
      outcome(
        board((b) => b.context(8, BigInt(L4) | 0x5n, 0x102n), custom(vtdPersonalities.qemu48, { ecapLow: 0x00f00f4e })),
        'read',
      ),
    ).toBe(2))
  test('3: type 2 (pass-through) without ECAP.PT [vtd.context.translation-type]', () =>
    expectFault(
      board((b) => b.context(8, 0x9n, 0x102n), custom(vtdPersonalities.qemu48, { ecapLow: 0x00f00f0a })),
      3,
    ))
  test('3: pass-through with a width that the unit does not have [vtd.context.pass-through]', () =>
    expectFault(
      board((b) => b.context(8, 0x9n, 0x100n)),
      3,
    ))
  test('3: the top table cannot be read [vtd.fault.reason-3]', () =>
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
  test.each([[1n << 48n], [1n << 63n], [(1n << 48n) + BigInt(IOVA)]])(
    '4: address 0x%s is beyond 48 bits [vtd.fault.reason-4]',
    (address) => expectFault(board(), 4, 'write', address),
  )
  test('4: an address beyond 39 bits in a table of three levels [vtd.fault.reason-4]', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L3) | 1n, 0x101n)),
      4,
      'read',
      1n << 39n,
    ))
  test('three levels translate below 2^39 [vtd.page.levels]', () =>
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
  ])(
    '6 for a read and 5 for a write of an absent %s entry [vtd.fault.reason-5, vtd.fault.reason-6]',
    (_level, entry) => {
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
    },
  )
  test.each([
    ['L4', L4, L3],
    ['L3', L3, L2],
    ['L2', L2 + 8, L1],
    ['L1', L1, PAGE_A],
  ])(
    'rights are those of every level: %s alone can refuse a write (5) or a read (6) [vtd.page.rights]',
    (_level, entry, next) => {
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
    },
  )
  test.each([
    ['L4', L4],
    ['L3', L3],
    ['L2', L2 + 8],
  ])('7: the table that an %s entry leads to cannot be read [vtd.fault.reason-7]', (_level, entry) =>
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
    'C: bits 62, 48…51, SNP without ECAP.SC, and PS in L4 are reserved in a present %s entry [vtd.fault.reason-c, vtd.page.transient, vtd.page.snoop, vtd.page.large.reserved]',
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
  test('5 or 6 before C: an absent entry with reserved bits set [vtd.fault.order.permission, vtd.page.present]', () => {
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
  test('5 before C: an entry without the right and with reserved bits [vtd.fault.order.permission]', () =>
    expectFault(
      board((b) => b.store(L1, BigInt(PAGE_A) | 0x801n)),
      5,
      'write',
    ))
  test('C before 7: reserved bits of an entry count before its table is read [vtd.fault.order.permission]', () =>
    expectFault(
      board((b) => b.store(L3, ABSENT_RAM | 0x4000000000000003n)),
      0xc,
    ))
  test('ignored bits 2…6, 7 of a 4K leaf, 8…10, 52…61 and 63 change nothing [vtd.page.ignored]', () =>
    expect(
      outcome(
        board((b) => b.store(L1, BigInt(PAGE_A) | 3n | 0x77cn | (0x3ffn << 52n) | (1n << 63n))),
        'write',
      ),
    ).toBe(2))
  test('SNP is legal in a leaf with ECAP.SC, and in a leaf only [vtd.page.snoop]', () => {
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
  test('C: bits above the host width of 46 of real silicon [vtd.page.host-width]', () =>
    expectFault(
      board((b) => b.store(L1, BigInt(PAGE_A) | 3n | (1n << 46n)), vtdPersonalities['sandybridge-ep']),
      0xc,
    ))
  test('E: the output lies in the interrupt window [vtd.fault.reason-e, vtd.window.output]', () => {
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

describe('large leaves [vtd.page.large]', () => {
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
  test('C: address bits inside a large leaf are reserved [vtd.page.large.reserved]', () => {
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
  test('C: PS on a unit without large pages [vtd.page.large.reserved]', () => {
    expectFault(
      board((b) => leaf2M(b, 0x83n), vtdPersonalities['nehalem-ep']),
      0xc,
    )
    expectFault(
      board((b) => leaf1G(b, 0x83n), vtdPersonalities['nehalem-ep']),
      0xc,
    )
  })
  test('E: decided by the page that is accessed, not by the whole leaf [vtd.window.output]', () => {
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

test('the order is context, then range, then tables: 2 before 4 before 6 [vtd.fault.order.range]', () => {
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

test('a DMA that crosses into a bad page moves what lies before it, and one fault is recorded [vtd.page.split]', () => {
  const made = board((b) => b.store(L1 + 8, 0n))
  const device = made.device()
  expect(device.write(IOVA + 0xff8, new Uint8Array(16).fill(0xab))).toBe(BLOCKED)
  expect(made.load(PAGE_A + 0xff8)).toBe(0xababababababababn)
  expect(made.faults()).toEqual([{ reason: 5, requester: 8, address: BigInt(IOVA + 0x1000), read: false }])
})

test('a zero-length read passes on a write-only page with ZLR, and on no absent one [vtd.page.zero-length]', () => {
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

describe('order of the root and context entry: each wrong thing hides what comes after it [vtd.fault.order.root]', () => {
  const wrongContext = (b: Board) => b.context(8, BigInt(L4) | 0x1dn, 0x107n)
  test('8 hides all', () => {
    const made = new Board()
    wrongContext(made)
    made.write64(0x20, ABSENT_RAM)
    made.write(0x18, 0x40000000)
    made.until(0x1c, 0x40000000, 0x40000000)
    made.write(0x18, 0x80000000)
    made.until(0x1c, 0x80000000, 0x80000000)
    expectFault(made, 8, 'write', 1n << 60n)
  })
  test('A hides 9', () =>
    expectFault(
      board((b) => b.store(ROOT, ABSENT_RAM | 3n, 0n)),
      0xa,
    ))
  test('9 hides 2', () =>
    expectFault(
      board((b) => b.store(ROOT, ABSENT_RAM | 1n, 0n)),
      9,
      'read',
      1n << 60n,
    ))
  test('3 hides 4', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L4) | 1n, 0x107n)),
      3,
      'read',
      1n << 60n,
    ))
})

describe('tables of five levels [vtd.page.levels]', () => {
  const L5 = 0x24000
  const silicon = vtdPersonalities['sapphirerapids-sp']
  // L5 index 0x1ff, L4 0, L3 0, L2 1, L1 0.
  const HIGH = 0x1ffn << 48n
  const five = (change: (b: Board) => void = () => {}) =>
    board((b) => {
      b.context(8, BigInt(L5) | 1n, 0x103n)
      b.store(L5, BigInt(L4) | 3n)
      b.store(L5 + 0x1ff * 8, BigInt(L4) | 3n)
      change(b)
    }, silicon)

  test('the fifth index is 56:48', () => {
    const made = five((b) => b.store(L1, BigInt(PAGE_B) | 3n))
    const device = made.device()
    expect(device.put(HIGH + BigInt(IOVA) + 8n, 5n)).toBe(2)
    expect(made.load(PAGE_B + 8)).toBe(5n)
    // Again from the caches; and 2^48 further down is another page.
    expect(device.put(HIGH + BigInt(IOVA) + 16n, 6n)).toBe(2)
    expect(device.read((HIGH - (1n << 48n)) | BigInt(IOVA), 8)).toBe(BLOCKED)
    expect(made.faults()).toMatchObject([{ reason: 6, address: (HIGH - (1n << 48n)) | BigInt(IOVA) }])
  })

  test('large pages and four levels work beside it', () => {
    const made = five((b) => {
      b.store(L3 + 8, 0x83n)
      b.store(CONTEXT + 16 * 16, BigInt(L4) | 1n, 0x202n)
    })
    expect(made.device(8).put(HIGH + (1n << 30n) + BigInt(PAGE_A), 7n)).toBe(2)
    expect(made.load(PAGE_A)).toBe(7n)
    expect(made.device(16).put(IOVA + 8, 9n)).toBe(2)
    expect(made.load(PAGE_A + 8)).toBe(9n)
  })

  test('4: an address beyond 57 bits', () => expectFault(five(), 4, 'write', 1n << 57n))
  test('4: an address beyond 48 bits in a table of four levels', () =>
    expectFault(
      board(() => {}, silicon),
      4,
      'read',
      1n << 48n,
    ))
  test('3: three levels, which this unit lacks', () =>
    expectFault(
      board((b) => b.context(8, BigInt(L3) | 1n, 0x101n), silicon),
      3,
    ))
  test('3: the top table cannot be read; 7: the next one cannot', () => {
    expectFault(
      five((b) => b.context(8, ABSENT_RAM | 1n, 0x103n)),
      3,
    )
    expectFault(
      five((b) => b.store(L5, ABSENT_RAM | 3n)),
      7,
    )
  })
  test('5 and 6 at the fifth level, and C for PS there [vtd.page.large.reserved]', () => {
    expectFault(
      five((b) => b.store(L5, BigInt(L4) | 1n)),
      5,
      'write',
    )
    expectFault(
      five((b) => b.store(L5, 0n)),
      6,
    )
    expectFault(
      five((b) => b.store(L5, BigInt(L4) | 0x83n)),
      0xc,
    )
  })
  test('a host width of 52 reserves no address bit', () =>
    expect(
      outcome(
        five((b) => b.store(L1, (1n << 51n) | 3n)),
        'read',
      ),
    ).toBe(-2))
})

describe('requests that say that they are translated, or want a translation (AT 2 and 1)', () => {
  const typed = (made: Board, addressType: number, write = true) => made.unit.dmaTyped(8, 0, PAGE_A, write, addressType)

  test.each([1, 2])('AT %i is blocked with D, whatever the tables grant [vtd.fault.reason-d]', (addressType) => {
    const made = board()
    expect(typed(made, addressType)).toBe(BLOCKED)
    expect(made.faults()).toEqual([{ reason: 0xd, requester: 8, address: BigInt(PAGE_A), read: false }])
    const passing = board((b) => b.context(8, 9n, 0x102n))
    expect(typed(passing, addressType, false)).toBe(BLOCKED)
    expect(passing.faults()).toMatchObject([{ reason: 0xd, read: true }])
  })
  test('after what is wrong with the context entry [vtd.fault.order.type]', () => {
    for (const [low, high, reason] of [
      [0n, 0n, 2],
      [BigInt(L4) | 0x11n, 0x102n, 0xb],
      [BigInt(L4) | 1n, 0x107n, 3],
    ] as const) {
      const made = board((b) => b.context(8, low, high))
      expect(typed(made, 2)).toBe(BLOCKED)
      expect(made.faults()).toMatchObject([{ reason }])
    }
  })
  test('before the address [vtd.fault.order.type]', () => {
    const made = board()
    expect(made.unit.dmaTyped(8, 1 << 30, 0, true, 2)).toBe(BLOCKED)
    expect(made.faults()).toMatchObject([{ reason: 0xd }])
  })
  test('FPD hides it [vtd.fault.qualified]', () => {
    const made = board((b) => b.context(8, BigInt(L4) | 3n, 0x102n))
    expect([typed(made, 2), made.faults()]).toEqual([BLOCKED, []])
  })
  test('the record tells AT on a unit with device TLBs only [vtd.log.address-type]', () => {
    for (const [ecapLow, type] of [
      [0x00f00f4a, 0],
      [0x00f00f4e, 2],
    ] as const) {
      const made = board(() => {}, custom(vtdPersonalities.qemu48, { ecapLow }))
      typed(made, 2)
      expect((made.read(0x22c) >>> 28) & 3).toBe(type)
    }
  })
  test('with translation off nobody takes them', () => {
    const made = new Board()
    expect(typed(made, 2)).toBe(-2)
  })
})
