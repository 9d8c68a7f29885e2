import { describe, expect, test } from 'vitest'
import { type AmdviPersonalityName, amdviPersonalities } from '../../src/hardware.ts'
import { Board, COMMANDS, DEVICES, EVENTS } from './board.ts'

/** The register file (facts B.2): values typed from there. */

describe('features of the personalities (B.2) [amdvi.register.features]', () => {
  // EFR: 0 PreFSup, 6 IASup, 7 GASup, 11:10 HATS, 46 MsiCapMmioSup, 49 HASup, 52 HDSup; EFR2: 9:8 NumIntRemapSup.
  test.each<[AmdviPersonalityName, bigint, bigint]>([
    ['qemu', 0x8c1n, 0n],
    ['hats4', 0x4000000000c1n, 0n],
    ['hats5', 0x24000000004c1n, 0n],
    ['hats6', 0x124000000008c1n, 0x100n],
  ])('%s', (name, features, more) => {
    const board = new Board({ personality: amdviPersonalities[name] })
    expect([board.read64(0x30), board.read64(0x1a0)]).toEqual([features, more])
    board.write64(0x30, 0n)
    expect(board.read64(0x30)).toBe(features)
  })

  test('QEMU’s EFR is 0x29D3: what ours lacks are PPRSup, GTSup, HESup and GATS, which come later [amdvi.register.features-qemu]', () => {
    const absent = 0x2n | 0x10n | 0x100n | 0x2000n
    expect(new Board({ personality: amdviPersonalities.qemu }).read64(0x30)).toBe(0x29d3n & ~absent)
  })
})

describe('reset values and write masks (B.2) [amdvi.register.absent, amdvi.register.pointers, amdvi.register.device-table, amdvi.register.command-buffer, amdvi.register.event-log]', () => {
  test.each([
    ['DevTabBase: 51:12 base, 8:0 size', 0x00, 0n, 0x000ffffffffff1ffn],
    ['CmdBufBase: 51:12 base, 59:56 length', 0x08, 0x0800000000000000n, 0x0f0ffffffffff000n],
    ['EvtLogBase: the same', 0x10, 0x0800000000000000n, 0x0f0ffffffffff000n],
    ['ExclBase: no exclusion range', 0x20, 0n, 0n],
    ['ExclLimit', 0x28, 0n, 0n],
    ['PPRLogBase: no page requests', 0x38, 0n, 0n],
    ['GALogBase: no guest interrupt log', 0xe0, 0n, 0n],
    ['DevTab segment 1: no segments', 0x100, 0n, 0n],
    ['XT interrupt control: no x2APIC', 0x170, 0n, 0n],
    ['CmdHead 18:4', 0x2000, 0n, 0x7fff0n],
    ['CmdTail 18:4', 0x2008, 0n, 0x7fff0n],
    ['EvtHead 18:4', 0x2010, 0n, 0x7fff0n],
    ['EvtTail 18:4', 0x2018, 0n, 0x7fff0n],
    ['Status has nothing to clear', 0x2020, 0n, 0n],
    ['PPR head', 0x2030, 0n, 0n],
    ['an offset without a register', 0x2200, 0n, 0n],
  ])('%s', (_name, offset, reset, written) => {
    const board = new Board()
    expect(board.read64(offset)).toBe(reset)
    board.write64(offset, 0xffffffffffffffffn)
    expect(board.read64(offset)).toBe(written)
  })

  test.each<[AmdviPersonalityName, bigint]>([
    // Up to CmdBufEn, GAEn; HADUpdate (47:46) only with HASup, NumIntRemapMode (44:43) only with 2048 interrupts. No PPR, GT, SMI
    // filter, segments, x2APIC.
    ['hats6', 0x0000d80000021fffn],
    ['hats5', 0x0000c00000021fffn],
    ['hats4', 0x0000000000021fffn],
    ['qemu', 0x0000000000021fffn],
  ])(
    'Control of %s keeps the bits of what is there [amdvi.register.control, amdvi.register.had-update]',
    (name, written) => {
      const board = new Board({ personality: amdviPersonalities[name] })
      board.write64(0x18, 0xffffffffffffffffn)
      expect(board.read64(0x18)).toBe(written)
    },
  )

  test('an access that is not aligned, or behind the block, reads all ones [amdvi.register.access]', () => {
    const board = new Board()
    expect([board.read(0x02), board.read(0x4000)]).toEqual([0xffffffff, 0xffffffff])
  })
})

describe('locks (B.2)', () => {
  const board = () => {
    const made = new Board()
    made.turnOn()
    return made
  }

  test('while IommuEn is 1, DevTabBase keeps its value [amdvi.lock.device-table]', () => {
    const made = board()
    made.write64(0x00, 0n)
    expect(made.read64(0x00)).toBe(BigInt(DEVICES))
    made.write(0x18, 0x1404)
    made.write64(0x00, 0n)
    expect(made.read64(0x00)).toBe(0n)
  })

  test('while CmdBufEn is 1, CmdBufBase and CmdHead keep theirs [amdvi.lock.command-buffer]', () => {
    const made = board()
    made.write64(0x08, 0n)
    made.write(0x2000, 0x20)
    expect([made.read64(0x08), made.read(0x2000)]).toEqual([0x0800000000000000n | BigInt(COMMANDS), 0])
    made.write(0x18, 0x0405)
    made.write(0x2000, 0x20)
    expect(made.read(0x2000)).toBe(0x20)
    made.write64(0x08, 0x0900000000040000n)
    expect([made.read64(0x08), made.read(0x2000)]).toEqual([0x0900000000040000n, 0])
  })

  test('while EventLogEn is 1, EvtLogBase and EvtTail keep theirs [amdvi.lock.event-log, amdvi.register.ring-reset]', () => {
    const made = board()
    made.write64(0x10, 0n)
    made.write(0x2018, 0x20)
    expect([made.read64(0x10), made.read(0x2018)]).toEqual([0x0800000000000000n | BigInt(EVENTS), 0])
    made.write(0x18, 0x1401)
    made.write(0x2018, 0x20)
    made.write(0x2010, 0x20)
    made.write(0x10, EVENTS)
    expect([made.read(0x2010), made.read(0x2018)]).toEqual([0, 0])
  })

  test('a write of CmdBufBase sets head and tail to 0 (B.2) [amdvi.register.ring-reset]', () => {
    const made = new Board()
    made.write(0x2000, 0x40)
    made.write(0x2008, 0x80)
    made.write64(0x08, 0x0800000000030000n)
    expect([made.read(0x2000), made.read(0x2008)]).toEqual([0, 0])
  })
})

describe('run bits of Status (B.2: 3 EventLogRun, 4 CmdBufRun) [amdvi.register.run]', () => {
  test.each([
    ['everything on', 0x1405, 0x18],
    ['IommuEn is 0', 0x1404, 0],
    ['without CmdBufEn', 0x0405, 0x08],
    ['without EventLogEn', 0x1401, 0x10],
  ])('%s', (_name, control, status) => {
    const board = new Board()
    board.turnOn()
    board.write64(0x18, BigInt(control))
    expect(board.read(0x2020)).toBe(status)
  })

  test.each([
    [7n, 0],
    [8n, 0x18],
    [15n, 0x18],
  ])(
    'rings of length code %i: less than 8 is reserved, and does not run [amdvi.register.ring-length]',
    (code, status) => {
      const board = new Board()
      board.write64(0x08, (code << 56n) | BigInt(COMMANDS))
      board.write64(0x10, (code << 56n) | BigInt(EVENTS))
      board.write64(0x18, 0x1405n)
      expect(board.read(0x2020)).toBe(status)
    },
  )
})

describe('the unit’s PCI function (B.1)', () => {
  test.each<[AmdviPersonalityName, number, number]>([
    // Type 3 in 18:16, revision 1 in 23:19, 27 EFRSup, 26 NpCache; misc 14:8 PAsize, 21:15 VAsize.
    ['qemu', 0x0c0b000f, (48 << 15) | (40 << 8)],
    ['hats4', 0x080b000f, (48 << 15) | (48 << 8)],
    ['hats5', 0x080b000f, (57 << 15) | (52 << 8)],
    ['hats6', 0x080b000f, (64 << 15) | (48 << 8)],
  ])(
    '%s: capability 0x0F with the base of its registers [amdvi.capability.block, amdvi.capability.base, amdvi.capability.misc]',
    (name, header, misc) => {
      const board = new Board({ personality: amdviPersonalities[name] })
      board.machine.pci.add(0, 2, board.unit.function)
      const { pci } = board.machine
      let at = pci.configRead(2, 0x34, 1)
      while ((pci.configRead(2, at, 4) & 0xff) !== 0x0f) at = (pci.configRead(2, at, 4) >>> 8) & 0xff
      expect(pci.configRead(2, at, 4) & 0xffff00ff).toBe(header)
      expect([pci.configRead(2, at + 4, 4), pci.configRead(2, at + 8, 4)]).toEqual([0xfed80001, 0])
      expect(pci.configRead(2, at + 0x10, 4)).toBe(misc)
      expect([pci.configRead(2, 0, 2), pci.configRead(2, 0x08, 4) >>> 8]).toEqual([0x1022, 0x080600])
    },
  )

  test('its MSI registers by MMIO at 0158 to 0164 are those of its configuration space (MsiCapMmioSup) [amdvi.register.message]', () => {
    const board = new Board()
    board.machine.pci.add(0, 2, board.unit.function)
    const { pci } = board.machine
    board.write(0x15c, 0xfee01004)
    board.write(0x160, 1)
    board.write(0x164, 0x4061)
    board.write(0x158, 0x10000)
    const at = pci.configRead(2, 0x34, 1)
    expect([
      pci.configRead(2, at, 1),
      pci.configRead(2, at + 4, 4),
      pci.configRead(2, at + 8, 4),
      pci.configRead(2, at + 12, 2),
    ]).toEqual([5, 0xfee01004, 1, 0x4061])
    expect(pci.configRead(2, at + 2, 2)).toBe(0x81)
    expect([board.read(0x15c), board.read(0x160), board.read(0x164)]).toEqual([0xfee01004, 1, 0x4061])
    expect(board.read(0x158) >>> 16).toBe(0x81)
  })

  test('without MsiCapMmioSup there are none [amdvi.register.message]', () => {
    const board = new Board({ personality: amdviPersonalities.qemu })
    board.write(0x15c, 0xfee01000)
    expect(board.read(0x15c)).toBe(0)
  })
})
