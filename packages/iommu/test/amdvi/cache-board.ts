/** A board that maps IOVA to PAGE_A, which a test may change behind the unit's back; and commands, as in facts B.5. */
import { type AmdviPersonality, amdviPersonalities } from '../../src/hardware.ts'
import { Board, PAGE_A, PAGE_B, RW } from './board.ts'

export function board(
  change: (b: Board) => void = () => {},
  personality: AmdviPersonality = amdviPersonalities.hats6,
): Board {
  const made = new Board({ personality })
  made.ordinary()
  change(made)
  made.store(PAGE_A, 0xaan)
  made.store(PAGE_B, 0xbbn)
  made.turnOn()
  return made
}

export const A = BigInt(PAGE_A) | RW | 1n
export const B = BigInt(PAGE_B) | RW | 1n
export const pages = (made: Board, flags: number, low: number, high = 0, domain = 1) =>
  made.command(0, 0x30000000 | domain, low | flags, high)
