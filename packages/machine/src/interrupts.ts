/**
 * The CPU side of interrupts: 256 vectors with a request register, as in a local APIC. A message sets the vector's request bit;
 * the handler runs at once unless interrupts are held, else when they are released. Several messages of one vector while held are
 * one interrupt.
 */
import type { Clock } from './clock.ts'
import { Count } from './costs.ts'

/** Interrupt messages are writes to 0xFEExxxxx (Intel SDM 3A 11.11). */
export const INTERRUPT_WINDOW = 0xfee
/** True for a physical or I/O address inside the interrupt window. */
export const inInterruptWindow = (hi: number, lo: number): boolean => hi === 0 && lo >>> 20 === INTERRUPT_WINDOW

export class InterruptController {
  readonly #clock: Clock
  readonly #handlers: ((vector: number) => void)[] = []
  readonly #requested = new Uint32Array(8)
  /** Messages received per vector since power-on. */
  readonly received = new Uint32Array(256)
  #held = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Sets the handler of `vector`; null ignores its interrupts. */
  handle(vector: number, handler: ((vector: number) => void) | null): void {
    this.#handlers[vector] = handler ?? ignore
  }

  /** A message from the interrupt window: vector in `data` 7:0. There is one CPU, so the destination is not looked at. */
  message(data: number): void {
    const vector = data & 0xff
    this.#clock.count(Count.interruptMessage)
    this.received[vector]!++
    if (this.#held > 0) this.#requested[vector >> 5]! |= 1 << (vector & 31)
    else (this.#handlers[vector] ?? ignore)(vector)
  }

  /** Holds interrupts back until the matching {@link release}; nests. */
  hold(): void {
    this.#held++
  }

  /** Ends a {@link hold}; the outermost one delivers what was requested, highest vector first. */
  release(): void {
    if (--this.#held > 0) return
    for (let word = 7; word >= 0; word--) {
      while (this.#requested[word] !== 0) {
        const bit = 31 - Math.clz32(this.#requested[word]!)
        this.#requested[word]! &= ~(1 << bit)
        const vector = word * 32 + bit
        ;(this.#handlers[vector] ?? ignore)(vector)
      }
    }
  }
}

function ignore(): void {}
