import { describe, expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { Board, INTERRUPTS } from './board.ts'
import { Interrupts, upper } from './interrupt-board.ts'

/** Interrupt messages (facts B.3 quadword 2, G): forwarded, aborted, remapped by entries of 4 or 16 bytes. */

describe('decision table (B.3)', () => {
  test('IommuEn = 0: messages pass [amdvi.dte.off]', () => {
    const board = new Board()
    expect([board.device().message(0x41), board.machine.interrupts.received[0x41]]).toEqual([1, 1])
  })

  test('IV = 0: they pass unmapped, whatever V and IntCtl are [amdvi.dte.interrupt-off]', () => {
    for (const quadwords of [
      [0n, 0n, 0n],
      [3n, 5n, 0xfffffffffffffffen],
    ]) {
      const board = new Board()
      board.entry(8, ...quadwords)
      board.turnOn()
      expect([board.device().message(0x41), board.machine.interrupts.received[0x41], board.events()]).toEqual([
        1,
        1,
        [],
      ])
    }
  })

  test('IntCtl 0: aborted: INVALID_DEVICE_REQUEST of type 5 (field evidence: flags 0x0a00) [amdvi.dte.interrupt-abort, amdvi.event.invalid-request]', () => {
    const made = new Interrupts(upper(0n))
    expect([made.device.message(0x41), made.received()]).toEqual([-1, []])
    expect(made.board.events()).toEqual(['8a00000000000008 00000000fee00000'])
  })

  test('IntCtl 1: forwarded unmapped [amdvi.dte.interrupt-forward]', () => {
    const made = new Interrupts(upper(1n))
    expect([made.device.message(0x41), made.device.message(0x141), made.received(), made.board.events()]).toEqual([
      1,
      1,
      [0x41, 0x41],
      [],
    ])
  })

  test('IntCtl 3: ILLEGAL_DEV_TABLE_ENTRY with I [amdvi.dte.interrupt-reserved]', () => {
    const made = new Interrupts(upper(3n))
    expect([made.device.message(0x41), made.received()]).toEqual([-1, []])
    expect(made.board.events()).toEqual(['1088000000000008 00000000fee00000'])
  })

  test.each([
    ['quadword 2, bit 52', upper(1n) | (1n << 52n), 0n],
    ['quadword 2, bit 53', upper(1n) | (1n << 53n), 0n],
    ['quadword 3, bit 0', upper(1n), 1n],
    ['quadword 3, bit 14', upper(1n), 1n << 14n],
    ['quadword 3, bit 48', upper(1n), 1n << 48n],
    ['quadword 3, bit 53', upper(1n), 1n << 53n],
  ])(
    'reserved with IV = 1: %s: ILLEGAL_DEV_TABLE_ENTRY with I and RZ [amdvi.dte.interrupt-reserved, amdvi.event.illegal-entry]',
    (_name, quadword2, quadword3) => {
      const made = new Interrupts(quadword2, { quadword3 })
      expect([made.device.message(0x41), made.board.events()]).toEqual([-1, ['1088000000000008 00000000fee00000']])
    },
  )

  test('other bits of the upper half are not [amdvi.dte.interrupt-reserved]', () => {
    const made = new Interrupts(upper(1n) | (3n << 54n) | (1n << 59n) | (3n << 62n), {
      quadword3: 0xffc0_ffff_ffff_8000n,
    })
    expect(made.device.message(0x41)).toBe(1)
  })

  test.each([
    ['SMI', 2, 0n, true],
    ['NMI without NMIPass', 4, 0n, false],
    ['NMI with it', 4, 1n << 58n, true],
    ['INIT without InitPass', 5, 0n, false],
    ['INIT with it', 5, 1n << 56n, true],
    ['ExtInt without EIntPass', 7, 0n, false],
    ['ExtInt with it', 7, 1n << 57n, true],
    ['a reserved type', 3, 0x0700000000000000n, false],
  ])(
    '%s: not remapped, but passed or aborted by the bits of the entry [amdvi.dte.interrupt-pass]',
    (_name, type, pass, passes) => {
      const made = new Interrupts(upper(2n, 9n, pass))
      // Passed on or not, the vector that such a message carries is raised by nobody.
      expect([made.device.message((type << 8) | 0x41), made.received()]).toEqual([passes ? 1 : -1, []])
      expect(made.board.machine.interrupts.withoutVector[type]).toBe(passes ? 1 : 0)
      expect(made.board.events()).toEqual(passes ? [] : ['8a00000000000008 00000000fee00000'])
    },
  )

  test('a requester beyond the device table is IO_PAGE_FAULT with I [amdvi.dte.beyond]', () => {
    const board = new Board()
    board.turnOn()
    expect([board.device(128).message(0x41), board.events()]).toEqual([-1, ['2008000000000080 00000000fee00000']])
  })
})

describe('entries of 4 bytes: 0 RemapEn, 1 SupIOPF, 4:2 IntType, 23:16 vector (G)', () => {
  test('the index is 10:0 of the data, the vector the entry’s [amdvi.irte.index, amdvi.dte.interrupt-remap]', () => {
    const made = new Interrupts(upper(2n))
    made.entry(0x41, 0x00910001)
    made.entry(0x1ff, 0x00920005)
    expect([made.device.message(0x41), made.device.message(0x1ff), made.received()]).toEqual([1, 1, [0x91, 0x92]])
  })

  test('the device cannot send the vector that it names: a forged message reaches its own entry or none [amdvi.irte.index]', () => {
    const made = new Interrupts(upper(2n, 4n))
    made.entry(3, 0x00910001)
    expect([made.device.message(0xfe), made.device.message(3), made.received()]).toEqual([-1, 1, [0x91]])
    expect(made.board.events()).toEqual(['2008000500000008 00000000fee00000'])
  })

  test('IntTabLen: 2^n entries; the index beyond is IO_PAGE_FAULT with I, PR = 0 [amdvi.dte.interrupt-length]', () => {
    for (const length of [0n, 1n, 5n, 8n, 9n]) {
      const made = new Interrupts(upper(2n, length))
      const last = 2 ** Number(length) - 1
      made.entry(last, 0x00910001)
      made.entry(last + 1, 0x00910001)
      expect(made.device.message(last)).toBe(1)
      if (last < 0x1ff) expect(made.device.message(last + 1)).toBe(-1)
    }
  })

  test.each([12n, 15n])('IntTabLen %i is ILLEGAL_DEV_TABLE_ENTRY [amdvi.dte.interrupt-reserved]', (length) => {
    const made = new Interrupts(upper(2n, length))
    expect([made.device.message(1), made.board.events()]).toEqual([-1, ['1088000000000008 00000000fee00000']])
  })

  test('RemapEn = 0: IO_PAGE_FAULT with I, PR = 0 [amdvi.irte.remap]', () => {
    const made = new Interrupts(upper(2n))
    made.entry(5, 0x00910000)
    expect([made.device.message(5), made.received(), made.board.events()]).toEqual([
      -1,
      [],
      ['2008000500000008 00000000fee00000'],
    ])
  })

  test.each([
    ['GuestMode', 0x00910081],
    ['IntType 2', 0x00910009],
    ['IntType 7', 0x0091001d],
    ['bit 24', 0x01910001],
    ['bit 31', 0x80910001 | 0],
  ])('reserved: %s: I, PR and RZ [amdvi.irte.short]', (_name, entry) => {
    const made = new Interrupts(upper(2n))
    made.entry(5, entry)
    expect([made.device.message(5), made.board.events()]).toEqual([-1, ['2098000500000008 00000000fee00000']])
  })

  test('RqEoi, DM and the destination are taken as they come: there is one processor [amdvi.irte.ignored]', () => {
    const made = new Interrupts(upper(2n))
    made.entry(5, 0x0091ff61)
    expect([made.device.message(5), made.received()]).toEqual([1, [0x91]])
  })

  test('SupIOPF and IG suppress the log, not the abort [amdvi.irte.suppress, amdvi.dte.interrupt-ignore]', () => {
    const made = new Interrupts(upper(2n))
    made.entry(5, 0x00910002)
    made.entry(6, 0x00910083)
    expect([made.device.message(5), made.device.message(6), made.board.events()]).toEqual([-1, -1, []])
    // IG: interrupts without a mapping only (Xen: IG = 0 makes unmapped interrupts page faults).
    const quiet = new Interrupts(upper(2n, 4n, 0x20n))
    quiet.entry(6, 0x00910081)
    expect([quiet.device.message(5), quiet.device.message(16), quiet.board.events()]).toEqual([-1, -1, []])
    expect([quiet.device.message(6), quiet.board.events()]).toEqual([-1, ['2098000500000008 00000000fee00000']])
  })
})

describe('entries of 16 bytes with GAEn (G) [amdvi.irte.wide]', () => {
  const wide = () => new Interrupts(upper(2n), { control: 0x20000 })

  test('the vector is 7:0 of the upper quadword; index × 16 [amdvi.irte.index]', () => {
    const made = wide()
    made.board.store(INTERRUPTS + 0x41 * 16, 1n, 0x93n)
    made.board.store(INTERRUPTS + 0x1ff * 16, 0x12345678_ffffff05n, 0xff00000000000094n)
    expect([made.device.message(0x41), made.device.message(0x1ff), made.received()]).toEqual([1, 1, [0x93, 0x94]])
  })

  test.each([
    ['GuestMode', 0x81n, 0x93n],
    ['bit 72', 1n, 0x193n],
    ['bit 75', 1n, 0x893n],
    ['bit 116', 1n, 0x0010000000000093n],
    ['bit 119', 1n, 0x0080000000000093n],
    ['IntType 4', 0x11n, 0x93n],
  ])('reserved: %s', (_name, low, high) => {
    const made = wide()
    made.board.store(INTERRUPTS + 5 * 16, low, high)
    expect([made.device.message(5), made.board.events()]).toEqual([-1, ['2098000500000008 00000000fee00000']])
  })

  test('RemapEn = 0', () => {
    const made = wide()
    made.board.store(INTERRUPTS + 5 * 16, 0n, 0x93n)
    expect([made.device.message(5), made.board.events()]).toEqual([-1, ['2008000500000008 00000000fee00000']])
  })
})

describe('NumIntRemapMode (B.2 44:43, EFR2 9:8) [amdvi.irte.all-types]', () => {
  test('1: every type is remapped, by 2048 entries', () => {
    const made = new Interrupts(upper(2n, 11n))
    made.board.write(0x1c, 0x800)
    made.entry(0x7ff, 0x00950001)
    made.entry(0x441, 0x00960001)
    expect([made.device.message(0x7ff), made.device.message(0x441), made.received()]).toEqual([1, 1, [0x95, 0x96]])
  })

  test('without the feature the bits stay 0', () => {
    const made = new Interrupts(upper(2n, 11n), {
      personality: amdviPersonalities.hats5,
    })
    made.board.write(0x1c, 0x800)
    expect([made.board.read(0x1c), made.device.message(0x7ff)]).toEqual([0, -1])
  })
})
