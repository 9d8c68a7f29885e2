/** Tables in machine memory, read as bytes by formats of a specification: not by the walk that the hardware uses. */
import type { System } from '@iospace/lab'

/** One page that a device reaches. */
export interface Reached {
  readonly ioPage: number
  readonly mfn: number
  /** 1 read, 2 write. */
  readonly access: number
}

/** Index in the machine's words of the first word of frame `mfn`. */
export function wordOf({ machine: { memory } }: System, mfn: number): number {
  const offset = memory.frameOffset(mfn)
  if (!(offset >= 0)) throw new Error(`a table lies at frame 0x${mfn.toString(16)}, where there is no RAM`)
  return offset / 4
}
