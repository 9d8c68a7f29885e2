/** One of the two boards of a differential run: carries out operations and tells all that can be seen of them from outside. */
import { hexBytes } from '@iospace/wire'
import type { Board } from '../../boards/index.ts'
import type { Transfer, Operation } from './operation.ts'
import { VtdUnit, type FaultWords } from './unit.ts'
import { PAGE, READBACK } from '../memory-map.ts'

/** Fault status and record after a transfer. */
export interface FaultView {
  readonly status: number
  readonly record: FaultWords | null
}

/** What an operation let see. */
export interface Observation {
  /** What the unit said of an invalidation, 0 for others. */
  readonly result: number
  /** After the transfer. */
  readonly fault: FaultView | null
  /** After a fetch: the bytes that the device had, as it stored them at the read-back page, and the faults of that. */
  readonly seen: string | null
  readonly readback: FaultView | null
}

const UNSEEN = 0xee

export class Side {
  readonly board: Board
  readonly unit: VtdUnit

  constructor(board: Board) {
    this.board = board
    this.unit = new VtdUnit(board)
  }

  perform(operation: Operation): Observation {
    if (operation.kind !== 'dma')
      return { result: this.unit.perform(operation), fault: null, seen: null, readback: null }
    return operation.write ? this.#store(operation) : this.#fetch(operation)
  }

  #store({ requester, hi, lo, at, length, keep }: Transfer): Observation {
    this.board.devices.get(requester)!.store(hi, lo, at, length)
    this.board.settle()
    return { result: 0, fault: this.unit.faults(keep), seen: null, readback: null }
  }

  #fetch({ requester, hi, lo, length, keep }: Transfer): Observation {
    const { board, unit } = this
    const device = board.devices.get(requester)!
    device.fetch(hi, lo, 0, length)
    const fault = unit.faults(keep)
    board.memory.fill(READBACK * PAGE, UNSEEN, length)
    device.store(0, READBACK * PAGE, 0, length)
    board.settle()
    const readback = unit.faults(keep)
    return { result: 0, fault, seen: hexBytes(board.memory.read(READBACK * PAGE, length)), readback }
  }
}
