/** What the data frames of a board should hold. */
import type { BoardMemory } from '../boards/index.ts'
import type { Write } from './forecast.ts'
import { DATA, PAGE, RUN_BYTES } from './memory-map.ts'

export class Image {
  readonly #bytes = new Uint8Array(DATA.length * RUN_BYTES)
  readonly #memory: BoardMemory

  constructor(memory: BoardMemory) {
    this.#memory = memory
  }

  set(bytes: Uint8Array): void {
    this.#bytes.set(bytes)
  }

  /** The part of `writes` that goes to data frames. */
  write(writes: readonly Write[]): void {
    for (const { address, bytes } of writes)
      for (const [i, first] of DATA.entries()) {
        const at = address - first * PAGE
        const from = Math.max(0, -at)
        const to = Math.min(bytes.length, RUN_BYTES - at)
        if (from < to) this.#bytes.set(bytes.subarray(from, to), i * RUN_BYTES + at + from)
      }
  }

  /** Whether all data frames are as they should be. */
  holds(): boolean {
    return DATA.every((first, i) => {
      const expected = this.#bytes.subarray(i * RUN_BYTES, (i + 1) * RUN_BYTES)
      return Buffer.compare(this.#memory.read(first * PAGE, RUN_BYTES), expected) === 0
    })
  }
}
