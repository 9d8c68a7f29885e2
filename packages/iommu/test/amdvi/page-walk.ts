/** Boards whose page tables lead where a test wants; words as in facts B.4. */
import { Board, L1, L2, L3, L4, PAGE_A, RW } from './board.ts'

/** Table `level` − 1 is at this address; level 1 is L1. */
export const TABLE = [0, L1, L2, L3, L4, 0x24000, 0x25000]
export const SHIFT = [0, 12, 21, 30, 39, 48, 57]
/** IO_PAGE_FAULT of requester 8 in domain 1: dw1:dw0, dw3:dw2. */
export const FAULT = (flags: string, address: bigint) =>
  `2${flags}000100000008 ${address.toString(16).padStart(16, '0')}`

export interface Step {
  readonly level: number
  readonly entry: bigint
}

/** A board where function 00:01.0 has `levels` levels, with each step's entry where `address` needs it at that level. */
export function walk(levels: number, address: bigint, steps: Step[], entry = RW): Board {
  const board = new Board()
  board.entry(8, BigInt(TABLE[levels]!) | entry | 3n | (BigInt(levels) << 9n), 1n)
  for (const { level, entry: value } of steps) {
    board.store(TABLE[level]! + Number((address >> BigInt(SHIFT[level]!)) & (level === 6 ? 0x7fn : 0x1ffn)) * 8, value)
  }
  board.turnOn()
  return board
}

export const to = (level: number, rights = RW): Step['entry'] =>
  BigInt(TABLE[level]!) | rights | 1n | (BigInt(level) << 9n)
export const chain = (from: number, down: number): Step[] =>
  Array.from({ length: from - down }, (_, i) => ({ level: from - i, entry: to(from - i - 1) }))
export const leaf = BigInt(PAGE_A) | RW | 1n
