/** What happens when a unit blocks a request: it is counted, traced, and logged unless the device table entry suppresses its page faults. */
import { Count, DmaOutcome } from '@iospace/machine'
import type { Machine } from '@iospace/machine'
import { DeviceFlags } from '../spec/device-table.ts'
import { eventCode, EventCode, EventFlag } from '../spec/events.ts'
import type { AmdviWalk } from '../walk.ts'
import type { EventLog } from './event-log.ts'

export class FaultReport {
  readonly #machine: Machine
  readonly #walk: AmdviWalk
  readonly #log: EventLog

  constructor(machine: Machine, walk: AmdviWalk, log: EventLog) {
    this.#machine = machine
    this.#walk = walk
    this.#log = log
  }

  /** `kind`: 0 for a read, or a flag of the event: write or interrupt. `suppress`: {@link DeviceFlags} of the requester's entry. */
  block(
    fault: number,
    requester: number,
    domain: number,
    suppress: number,
    kind: number,
    hi: number,
    lo: number,
  ): number {
    const { trace, clock } = this.#machine
    clock.count(Count.dmaFault)
    const code = eventCode(fault)
    if (trace !== null) trace.fault(clock.now, requester, kind !== 0, (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0), code)
    if (code === EventCode.pageFault && this.#suppressed(suppress, kind, requester)) return DmaOutcome.blocked
    const { failedHi, failedLo, failedType } = this.#walk
    this.#log.fault(fault, requester, domain, kind, hi, lo, failedHi, failedLo, failedType)
    return DmaOutcome.blocked
  }

  // SA silences page faults, SE all after the first; interrupts have rules of their own.
  #suppressed(suppress: number, kind: number, requester: number): boolean {
    if ((suppress & DeviceFlags.suppressAll) !== 0) return true
    return (
      kind !== EventFlag.interrupt &&
      (suppress & DeviceFlags.suppressFurther) !== 0 &&
      this.#log.raisedBefore(requester)
    )
  }
}
