/**
 * Translated writes on their way to memory. Memory here shows each write at once, as real memory may; this remembers the latest ones.
 * When the translations are forgotten, a write whose page has lost its entry meanwhile lands at the end of its time, over whatever is
 * there by then; a write whose page still stands has a place to land in, and what CPUs did after it is theirs. The unit says that the
 * invalidation is complete when the last one has landed.
 */
import type { Clock, MachineMemory } from '@iospace/machine'

/** A power of two. */
const SLOTS = 16
const AT = 0
const LENGTH = 1
const TIME = 2
const PAGE = 3
const FRAME = 4
const FIELDS = 5

export class GartPostedWrites {
  declare private readonly memory: MachineMemory
  declare private readonly clock: Clock
  declare private readonly delay: number
  readonly #slots = new Float64Array(SLOTS * FIELDS)
  /** From SLOTS on counted round, for all slots are in use. */
  #recorded = 0

  /** `delay`: ns that a write may take. */
  constructor(memory: MachineMemory, clock: Clock, delay: number) {
    this.memory = memory
    this.clock = clock
    this.delay = delay
  }

  /** A write of `length` bytes through `page` (address 39:12) went to RAM frame index `frame`, flat-memory offset `at`. */
  record(at: number, length: number, page: number, frame: number): void {
    const recorded = this.#recorded
    const slots = this.#slots
    const slot = (recorded & (SLOTS - 1)) * FIELDS
    slots[slot + AT] = at
    slots[slot + LENGTH] = length
    slots[slot + TIME] = this.clock.now
    slots[slot + PAGE] = page
    slots[slot + FRAME] = frame
    this.#recorded = recorded === 2 * SLOTS - 1 ? SLOTS : recorded + 1
  }

  /** The translations were forgotten: writes that are still on their way to a page that no longer `leads` there land late. */
  forgotten(leads: (page: number, frame: number) => boolean): void {
    const slots = this.#slots
    const live = Math.min(this.#recorded, SLOTS) * FIELDS
    for (let slot = 0; slot < live; slot += FIELDS) {
      const left = slots[slot + TIME]! + this.delay - this.clock.now
      const length = slots[slot + LENGTH]!
      if (left <= 0 || length === 0 || leads(slots[slot + PAGE]!, slots[slot + FRAME]!)) continue
      slots[slot + LENGTH] = 0
      const at = slots[slot + AT]! >>> 0
      const data = this.memory.bytes.slice(at, at + length)
      this.clock.after(left, () => this.memory.bytes.set(data, at))
    }
  }
}
