/** One of the two boards of an AMD-Vi run: carries out operations and tells what can be seen of them from outside. */
import { hexBytes } from '@iospace/wire'
import type { Board } from '../../boards/index.ts'
import type { Dma } from '../dma.ts'
import { PAGE, READBACK } from '../memory-map.ts'
import { AmdviUnit } from './unit.ts'

/** Digits of a byte of the read-back page that nothing was stored to. */
export const UNSEEN = 'ee'

export class Side {
  readonly board: Board
  readonly unit: AmdviUnit

  constructor(board: Board) {
    this.board = board
    this.unit = new AmdviUnit(board)
  }

  /** Carries out a transfer. After a fetch: the bytes that the device had, as it stored them at the read-back page, in digits. */
  transfer({ requester, write, hi, lo, at, length }: Dma): string {
    const { board } = this
    const device = board.devices.get(requester)!
    if (write) {
      device.store(hi, lo, at, length)
      board.settle()
      return ''
    }
    device.fetch(hi, lo, 0, length)
    board.memory.fill(READBACK * PAGE, parseInt(UNSEEN, 16), length)
    device.store(0, READBACK * PAGE, 0, length)
    board.settle()
    return hexBytes(board.memory.read(READBACK * PAGE, length))
  }
}
