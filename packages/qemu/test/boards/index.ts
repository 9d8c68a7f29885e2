import type { Board, BoardName } from './board.ts'
import { ownAmdBoard, ownBoard } from './own-board.ts'
import { qemuBoard } from './qemu-board.ts'

export * from './board.ts'
export { ownAmdBoard, ownBoard, qemuBoard }

const boards: Readonly<Record<BoardName, () => Board>> = {
  qemu39: () => qemuBoard(39, { interrupts: true }),
  qemu48: () => qemuBoard(48, { interrupts: true }),
  qemuAmd: () => qemuBoard('Amd', { interrupts: true }),
  ours39: () => ownBoard(39),
  ours48: () => ownBoard(48),
  oursAmd: () => ownAmdBoard(),
}

export const openBoard = (name: BoardName): Board => boards[name]()
