import { describe, expect, test } from 'vitest'
import { amdviPersonalities } from '../../src/hardware.ts'
import { Board } from './board.ts'
import { Interrupts, upper } from './interrupt-board.ts'

/** Requests at interrupt addresses that are no message (facts B.6), and what stays until it is invalidated (B.5). */

describe('what is no message [amdvi.event.invalid-request]', () => {
  test('a read of the window: INVALID_DEVICE_REQUEST of type 0', () => {
    const made = new Interrupts(upper(1n))
    expect([made.device.read(0xfee00000, 4), made.board.events()]).toEqual([-1, ['8000000000000008 00000000fee00000']])
  })

  test('a write of another length, or misaligned: type 6', () => {
    const made = new Interrupts(upper(1n))
    expect([made.device.put(0xfee00000, 0n), made.device.message(0x41, 0xfee00002), made.received()]).toEqual([
      -1,
      -1,
      [],
    ])
    expect(made.board.events()).toEqual(['8c00000000000008 00000000fee00000', '8c00000000000008 00000000fee00002'])
  })

  test('HyperTransport’s interrupt range, as real logs have it: type 5 at 0xFDF8000020 (B.6)', () => {
    const made = new Interrupts(upper(1n))
    expect(made.device.message(0x41, 0xfdf8000020)).toBe(-1)
    expect(made.device.read(0xfdf8000020, 4)).toBe(-1)
    expect(made.board.events()).toEqual(['8a00000000000008 000000fdf8000020', '8000000000000008 000000fdf8000020'])
  })

  test('with the unit off, reads and malformed writes go nowhere [amdvi.dte.off]', () => {
    const board = new Board()
    const device = board.device()
    expect([device.read(0xfee00000, 4), device.put(0xfee00000, 1n), device.message(1, 0xfdf8000020)]).toEqual([
      -2, -2, -2,
    ])
  })
})

describe('what is cached', () => {
  test('an entry is used until INVALIDATE_INTERRUPT_TABLE of its requester [amdvi.cache.stale, amdvi.command.interrupts]', () => {
    const made = new Interrupts(upper(2n))
    made.entry(5, 0x00910001)
    made.device.message(5)
    made.entry(5, 0x00920001)
    made.device.message(5)
    made.board.command(16, 0x50000000)
    made.device.message(5)
    made.board.invalidateDevice(8)
    made.device.message(5)
    expect(made.received()).toEqual([0x91, 0x91, 0x91, 0x91])
    made.board.command(8, 0x50000000)
    made.device.message(5)
    expect(made.received()).toEqual([0x92])
    made.entry(5, 0x00930001)
    made.board.command(0, 0x80000000)
    made.device.message(5)
    expect(made.received()).toEqual([0x93])
  })

  test('the upper half of the device table entry until INVALIDATE_DEVTAB_ENTRY [amdvi.cache.stale, amdvi.command.device]', () => {
    const made = new Interrupts(upper(1n))
    made.device.message(0x41)
    made.board.entry(8, 3n, 5n, upper(0n))
    expect(made.device.message(0x41)).toBe(1)
    made.board.invalidateDevice(8)
    expect(made.device.message(0x41)).toBe(-1)
  })

  test('entries push each other out of a small cache [amdvi.cache.shape]', () => {
    const made = new Interrupts(upper(2n), {
      personality: { ...amdviPersonalities.hats6, interrupts: { sets: 4, ways: 1 } },
    })
    made.entry(5, 0x00910001)
    made.entry(6, 0x00920001)
    made.entry(9, 0x00940001)
    made.device.message(5)
    made.entry(5, 0x00930001)
    made.device.message(6)
    made.device.message(5)
    // Entries 5 and 9 are of one set of four.
    made.device.message(9)
    made.device.message(5)
    expect(made.received()).toEqual([0x91, 0x91, 0x92, 0x93, 0x94])
  })
})
