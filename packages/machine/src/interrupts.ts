/**
 * The CPU side of interrupts: 256 vectors with a request register, as in a local APIC. A message sets the vector's request bit; the
 * handler runs when the CPU takes interrupts: at once, or after the hardware event that sent it, or when a hold ends. Handlers run
 * with interrupts held, highest vector first. Several messages of one vector before it is taken are one interrupt.
 */
import { StateError } from '@iospace/wire'
import type { Clock } from './clock.ts'
import { Count } from './costs.ts'

/** Interrupt messages are writes to 0xFEExxxxx (Intel SDM 3A 11.11). */
export const INTERRUPT_WINDOW = 0xfee
/** Delivery mode, data 10:8: of fixed (0) and lowest-priority (1) messages 7:0 is a vector; SMI 2, NMI 4, INIT 5 and ExtInt 7 name none. */
const MODE_SHIFT = 8
const MODE_MASK = 7
const LAST_WITH_VECTOR = 1

/** True for a physical or I/O address inside the interrupt window. */
export const inInterruptWindow = (hi: number, lo: number): boolean => hi === 0 && lo >>> 20 === INTERRUPT_WINDOW

export class InterruptController {
  declare private readonly clock: Clock
  readonly #handlers: (((vector: number) => void) | undefined)[] = []
  readonly #requested = new Uint32Array(8)
  /** Messages received per vector since power-on. */
  readonly received = new Uint32Array(256)
  /** Messages received that name no vector, per delivery mode: they are not this board's to handle. */
  readonly withoutVector = new Uint32Array(8)
  #held = 0
  /** Something is requested: most holds end without it. */
  #waiting = false

  constructor(clock: Clock) {
    this.clock = clock
    clock.afterHardware = () => this.#deliver()
  }

  /** Sets the handler of `vector`; null ignores its interrupts. */
  handle(vector: number, handler: ((vector: number) => void) | null): void {
    this.#handlers[vector] = handler ?? undefined
  }

  /** A message from the interrupt window: vector in `data` 7:0, delivery mode in 10:8. There is one CPU, so the destination is not looked at. */
  message(data: number): void {
    const vector = data & 0xff
    const mode = (data >>> MODE_SHIFT) & MODE_MASK
    this.clock.count(Count.interruptMessage)
    if (mode > LAST_WITH_VECTOR) {
      this.withoutVector[mode]!++
      return
    }
    this.received[vector]!++
    this.#requested[vector >> 5]! |= 1 << (vector & 31)
    this.#waiting = true
    this.#deliver()
  }

  /** Holds interrupts back until the matching {@link release}; nests. */
  hold(): void {
    this.#held++
  }

  /** Ends a {@link hold}; the outermost one delivers what was requested. StateError without a hold. */
  release(): void {
    if (this.#held === 0) throw new StateError('interrupts', 'released without a hold')
    this.#held--
    this.#deliver()
  }

  // Not inside a hardware event: a handler that waits for hardware would wait for ever there.
  #deliver(): void {
    if (!this.#waiting || this.#held > 0 || this.clock.inHardware) return
    this.#held++
    try {
      for (let vector = this.#highest(); vector >= 0; vector = this.#highest()) {
        this.#requested[vector >> 5]! &= ~(1 << (vector & 31))
        this.#handlers[vector]?.(vector)
      }
      this.#waiting = false
    } finally {
      this.#held--
    }
  }

  #highest(): number {
    for (let word = 7; word >= 0; word--) {
      const bits = this.#requested[word]!
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits)
    }
    return -1
  }
}
