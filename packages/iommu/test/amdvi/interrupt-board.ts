/** A device whose interrupt messages go where quadwords 2 and 3 of its entry say (facts B.3, G). */
import { type AmdviPersonality, amdviPersonalities } from '../../src/hardware.ts'
import { Board, INTERRUPTS, type Probe } from './board.ts'

/** IV = 1, IntTabLen 2^`length`, table at INTERRUPTS, IntCtl. */
export const upper = (control: bigint, length = 9n, more = 0n): bigint =>
  1n | (length << 1n) | BigInt(INTERRUPTS) | (control << 60n) | more

export class Interrupts {
  readonly board: Board
  readonly device: Probe

  constructor(
    quadword2: bigint,
    {
      control = 0,
      quadword3 = 0n,
      personality = amdviPersonalities.hats6,
    }: { control?: number; quadword3?: bigint; personality?: AmdviPersonality } = {},
  ) {
    this.board = new Board({ personality })
    // DMA of the device is blocked: interrupts go by IV alone.
    this.board.entry(8, 3n, 5n, quadword2, quadword3)
    this.board.turnOn({ control })
    this.device = this.board.device()
  }

  /** Entry `index` of a table of 4-byte entries. */
  entry(index: number, value: number): void {
    this.board.machine.memory.view.setUint32(INTERRUPTS + index * 4, value, true)
  }

  /** Vectors that were received since the last call. */
  received(): number[] {
    const counts = this.board.machine.interrupts.received
    const found: number[] = []
    counts.forEach((count, vector) => {
      for (let i = 0; i < count; i++) found.push(vector)
    })
    counts.fill(0)
    return found
  }
}
