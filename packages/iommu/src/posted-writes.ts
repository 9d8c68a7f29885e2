/**
 * Translated writes on their way to memory. A posted write is translated first and lands later; what can go wrong is that it lands
 * in a frame that was unmapped and given away in between. Memory here shows each write at once, as real memory may, and this remembers
 * the latest ones; when a translation is forgotten without a drain, those that went through it and may still be on their way land
 * at the end of their time, over whatever is there by then. A drain, or time, ends the danger.
 */
import type { Clock, MachineMemory } from '@iospace/machine'

/** A power of two. */
const SLOTS = 16

export class PostedWrites {
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly delay: number
  /** Per slot: flat-memory offset, length (negative once it is overtaken); time. */
  readonly #slots = new Int32Array(SLOTS * 2)
  readonly #times = new Float64Array(SLOTS)
  /** Writes since the last drain; from SLOTS on counted round, for all slots are in use. */
  #recorded = 0

  /** `delay`: ns that a write may take. */
  constructor(memory: MachineMemory, clock: Clock, delay: number) {
    this.memory = memory
    this.clock = clock
    this.delay = delay
  }

  /** A write of `length` bytes went to flat-memory offset `at` (32 bits of any sign), inside one page. */
  record(at: number, length: number): void {
    const recorded = this.#recorded
    const slot = recorded & (SLOTS - 1)
    const slots = this.#slots
    slots[2 * slot] = at
    slots[2 * slot + 1] = length
    this.#times[slot] = this.clock.now
    this.#recorded = ((recorded + 1) & (2 * SLOTS - 1)) | (recorded & SLOTS)
  }

  /** How many of the latest writes may still be on their way. */
  get underway(): number {
    const slots = this.#slots
    const live = Math.min(this.#recorded, SLOTS)
    let count = 0
    for (let slot = 0; slot < live; slot++)
      if (slots[2 * slot + 1] !== 0 && this.#times[slot]! + this.delay > this.clock.now) count++
    return count
  }

  /** All writes so far have landed. */
  drain(): void {
    this.#recorded = 0
  }

  /** Translations to `frames` RAM frames from `index` on were forgotten without a drain: writes on their way there will land late. */
  overtake(index: number, frames: number): void {
    const slots = this.#slots
    const live = Math.min(this.#recorded, SLOTS)
    for (let slot = 0; slot < live; slot++) {
      const at = slots[2 * slot]! >>> 0
      const length = slots[2 * slot + 1]!
      const left = this.#times[slot]! + this.delay - this.clock.now
      if (length <= 0 || left <= 0 || at >>> 12 < index || at >>> 12 >= index + frames) continue
      slots[2 * slot + 1] = -length
      const data = this.memory.bytes.slice(at, at + length)
      this.clock.after(left, () => this.memory.bytes.set(data, at))
    }
  }
}
