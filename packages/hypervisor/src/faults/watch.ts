/**
 * Looks at the log of a unit that raises no interrupt (Calgary: Linux's watchdog does it every 2 s), as long as anything goes on in the
 * machine: a hypercall or a write to a device starts it, and it stops when nothing but itself is left to happen.
 */
import type { Core } from '../core.ts'
import { drainFaults } from './drain.ts'

/** Virtual ns between two looks. */
export const WATCH_INTERVAL = 5_000_000
/** The hypervisor's own timer interrupt. */
const WATCH_VECTOR = 0xf2

export class FaultWatch {
  #armed = false
  readonly #core: Core

  constructor(core: Core) {
    this.#core = core
    core.machine.interrupts.handle(WATCH_VECTOR, () => this.#look())
  }

  /** Has the log looked at in time, if it is not yet to be. */
  arm(): void {
    if (this.#armed) return
    this.#armed = true
    // Taken as an interrupt, so that it never runs inside a hypercall.
    this.#core.clock.after(WATCH_INTERVAL, () => this.#core.machine.interrupts.message(WATCH_VECTOR))
  }

  #look(): void {
    const { clock, machine } = this.#core
    drainFaults(this.#core)
    this.#armed = false
    if (clock.nextDue !== Infinity || machine.scheduler.busy) this.arm()
  }
}
