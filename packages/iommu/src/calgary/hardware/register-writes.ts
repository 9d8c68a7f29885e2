/**
 * Register writes on their way from the CPU to a chip. They are posted: each takes effect some time later, in order, and a read of any
 * register waits for all before it. A driver that does not read back what it wrote has no promise that it happened.
 */
import type { Clock, ClockTimer } from '@iospace/machine'

export class RegisterWrites {
  readonly #apply: (offset: number, value: number) => void
  readonly #timer: ClockTimer
  readonly #delay: number
  readonly #offsets: number[] = []
  readonly #values: number[] = []

  /** `apply`: what a write of `value` (as it is on the bus) to `offset` does. */
  constructor(clock: Clock, delay: number, apply: (offset: number, value: number) => void) {
    this.#apply = apply
    this.#delay = delay
    this.#timer = clock.timer(() => this.settle())
  }

  post(offset: number, value: number): void {
    // The latest of them says when all are there.
    this.#offsets.push(offset)
    this.#values.push(value)
    this.#timer.start(this.#delay)
  }

  /** All of them take effect now. */
  settle(): void {
    if (this.#offsets.length === 0) return
    this.#timer.cancel()
    for (let i = 0; i < this.#offsets.length; i++) this.#apply(this.#offsets[i]!, this.#values[i]!)
    this.#offsets.length = 0
    this.#values.length = 0
  }
}
