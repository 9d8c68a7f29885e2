/**
 * Invalidation requests to TLBs of devices (VT-d specification, “Handling of Device-TLB Invalidations”). No device of this board has a TLB,
 * so none answers: what is here is how a unit with ECAP.DT waits, gives up, and takes a completion that it did not ask for.
 */
import type { Clock, ClockTimer } from '@iospace/machine'

export class DeviceTlbRequests {
  /** Called when the last request was completed. */
  onIdle: () => void = () => {}
  /** Called with the source id of a request that was not completed in time; all are given up. */
  onTimeout: (requester: number) => void = () => {}
  /** Source ids, the oldest first. */
  readonly #pending: number[] = []
  declare private readonly timer: ClockTimer
  declare private readonly timeout: number

  /** `timeout`: virtual ns. */
  constructor(clock: Clock, timeout: number) {
    this.timeout = timeout
    this.timer = clock.timer(() => {
      const oldest = this.#pending[0]!
      this.cancel()
      this.onTimeout(oldest)
    })
  }

  /** Nothing is outstanding. */
  get idle(): boolean {
    return this.#pending.length === 0
  }

  send(requester: number): void {
    this.#pending.push(requester)
    this.timer.start(this.timeout)
  }

  /** A completion message came from `requester`: false when nobody asked it. */
  complete(requester: number): boolean {
    const at = this.#pending.indexOf(requester)
    if (at < 0) return false
    this.#pending.splice(at, 1)
    if (this.idle) {
      this.timer.cancel()
      this.onIdle()
    }
    return true
  }

  cancel(): void {
    this.#pending.length = 0
    this.timer.cancel()
  }
}
