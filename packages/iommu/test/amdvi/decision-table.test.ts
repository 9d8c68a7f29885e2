import { describe, expect, test } from 'vitest'
import { type AmdviPersonality, amdviPersonalities } from '../../src/hardware.ts'
import { Board, INTERRUPTS, IOVA, L1, L2, L3, L4, PAGE_A, RW } from './board.ts'

/**
 * Every combination of the device table entry's deciding fields (facts B.3): what becomes of a read, a write and an interrupt message.
 * The table below is typed from there, first match wins.
 */
interface Case {
  readonly v: number
  readonly tv: number
  readonly ir: number
  readonly iw: number
  readonly mode: number
  readonly iv: number
  readonly control: number
}

/** A table to begin with at each Mode; the root's first entry leads to level 3, so that it serves as one of 5 or 6 levels too. */
const ROOT = [L4, L1, L2, L3, L4, L4, L4, L4]
const PASS = 'passes'
const WALK = 'walks'

/** Passes, walks, or dw1 of the event from 31:16. */
function ofRequest({ v, tv, ir, iw, mode }: Case, levels: number, write: boolean): string {
  if (v === 0) return PASS
  if (tv === 0) return write ? '2020' : '2000'
  if ((write ? iw : ir) === 0) return write ? '2070' : '2050'
  if (mode === 0) return PASS
  if (mode > levels) return write ? '20b0' : '2090'
  return WALK
}

/** The vector that a message with index and vector 0x41 raises, or dw1 of the event from 31:16. */
function ofMessage({ iv, control }: Case): number | string {
  if (iv === 0 || control === 1) return 0x41
  if (control === 0) return '8a00'
  if (control === 2) return 0x91
  return '1088'
}

const bits = [0, 1]
const cases: Case[] = bits.flatMap((v) =>
  bits.flatMap((tv) =>
    bits.flatMap((ir) =>
      bits.flatMap((iw) =>
        Array.from({ length: 8 }, (_m, mode) =>
          bits.flatMap((iv) => [0, 1, 2, 3].map((control) => ({ v, tv, ir, iw, mode, iv, control }))),
        ).flat(),
      ),
    ),
  ),
)

function run(personality: AmdviPersonality, levels: number): void {
  const board = new Board({ personality })
  board.tables(BigInt(PAGE_A) | RW | 1n)
  board.machine.memory.view.setUint32(INTERRUPTS + 0x41 * 4, 0x00910001, true)
  board.turnOn()
  const device = board.device()
  const { received } = board.machine.interrupts
  /** dw1 31:16 of the only event, or what `outcome` stands for. */
  const told = (outcome: number): string => {
    const events = board.events()
    if (outcome >= 0) return [...events, outcome === 1 ? PASS : WALK].join()
    return events.map((event) => event.slice(0, 4)).join()
  }
  for (const each of cases) {
    const { v, tv, ir, iw, mode, iv, control } = each
    board.entry(
      8,
      BigInt(ROOT[mode]! | (mode << 9) | (tv << 1) | v) | (BigInt(ir) << 61n) | (BigInt(iw) << 62n),
      1n,
      BigInt(iv) | (9n << 1n) | BigInt(INTERRUPTS) | (BigInt(control) << 60n),
    )
    board.invalidateDevice(8)
    board.invalidate(1)
    // A level-1 table has 2 MiB: the address is that of its first page.
    const address = mode === 1 ? 0 : IOVA
    const found = [told(device.read(address, 8)), told(device.put(address, 0n))]
    expect([each, ...found]).toEqual([each, ofRequest(each, levels, false), ofRequest(each, levels, true)])
    received.fill(0)
    const outcome = device.message(0x41)
    const vector = received.findIndex((count) => count > 0)
    const event = told(outcome)
    expect([each, vector < 0 ? event : vector]).toEqual([each, ofMessage(each)])
  }
}

describe('every combination of V, TV, IR, IW, Mode, IV and IntCtl [amdvi.dte.v0, amdvi.dte.tv0, amdvi.dte.mode0, amdvi.dte.mode, amdvi.dte.order, amdvi.dte.interrupt-off, amdvi.dte.interrupt-abort, amdvi.dte.interrupt-forward, amdvi.dte.interrupt-remap, amdvi.dte.interrupt-reserved]', () => {
  test('there are 1024', () => expect(cases).toHaveLength(1024))

  test.each([
    ['hats4', 4],
    ['hats5', 5],
    ['hats6', 6],
    ['qemu', 6],
  ] as const)('%s: up to %i levels', (name, levels) => run(amdviPersonalities[name], levels))
})
