/** One of the two boards of a run: carries out operations and tells all that can be seen of them from outside. */
import { hexBytes } from '@iospace/wire'
import type { Board } from '../boards/index.ts'
import type { Dma } from './dma.ts'
import { PAGE, READBACK, UNSEEN } from './memory-map.ts'

/** A unit as software sees it: registers and memory, nothing else. */
export interface UnitPort<Operation, Transfer extends Dma> {
  /** Carries out all but DMA. What the unit says of it is the result. */
  perform(operation: Exclude<Operation, Dma>): number
  /** Drops everything that is cached, and every fault that is pending. */
  clear(): void
  /** What the unit tells of the faults of a transfer, in words; '' where nothing can be learned from it. */
  faults(dma: Transfer): string
}

/** What a transfer lets see, memory aside. */
export interface Seen {
  /** After a fetch: the bytes that the device had, as it stored them at the read-back page, in digits. */
  readonly seen: string
  /** What the unit told of faults, of a fetch and then of the store by which it is seen. */
  readonly told: string
}

export class Side<Operation, Transfer extends Dma> {
  readonly board: Board
  readonly unit: UnitPort<Operation, Transfer>

  constructor(board: Board, unit: UnitPort<Operation, Transfer>) {
    this.board = board
    this.unit = unit
  }

  transfer(dma: Transfer): Seen {
    const { board, unit } = this
    const { requester, write, hi, lo, at, length } = dma
    const device = board.devices.get(requester)!
    if (write) {
      device.store(hi, lo, at, length)
      board.settle()
      return { seen: '', told: unit.faults(dma) }
    }
    device.fetch(hi, lo, 0, length)
    const fetched = unit.faults(dma)
    board.memory.fill(READBACK * PAGE, UNSEEN, length)
    device.store(0, READBACK * PAGE, 0, length)
    board.settle()
    return {
      told: `${fetched}, then ${unit.faults(dma)}`,
      seen: hexBytes(board.memory.read(READBACK * PAGE, length)),
    }
  }
}
