/** How hardware and walkers read tables: entries of 8 bytes in frames, where each access can fail. */
import type { MachineMemory } from '@iospace/machine'

export interface TableMemory {
  /** Little-endian words; an entry is two of them, low half first. */
  readonly words: Int32Array
  /**
   * Index in `words` of the 8-byte entry `index` (0…511) of frame `mfn` (any whole number ≥ 0). When the access fails: −1
   * nobody answers, −2 the data is bad.
   */
  entryAt(mfn: number, index: number): number
  /** The same for a 4-byte entry, `index` 0…1023. Absent: it fails where its 8-byte pair does. */
  wordAt?(mfn: number, index: number): number
  /** Frames 0 … `flatFrames` − 1 lie in `words` one after another and can always be read: who knows that need not ask. Absent: none. */
  readonly flatFrames?: number
}

/** Tables in a board's memory: accesses fail where there is no RAM. */
export class MachineTables implements TableMemory {
  declare readonly words: Int32Array
  declare readonly flatFrames: number
  declare private readonly memory: MachineMemory

  constructor(memory: MachineMemory) {
    this.words = memory.words
    this.flatFrames = memory.lowFrames
    this.memory = memory
  }

  entryAt(mfn: number, index: number): number {
    if (mfn < this.flatFrames) return (mfn << 10) | (index << 1)
    const frame = this.memory.frameIndex(mfn)
    return frame < 0 ? -1 : (frame << 10) | (index << 1)
  }
}
