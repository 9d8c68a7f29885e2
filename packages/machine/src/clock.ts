/**
 * Virtual time: one clock, one queue of due hardware events, one set of counters.
 *
 * CPU code calls `charge`, which counts an event, advances the clock by its cost and runs inline whatever hardware became due. So a
 * device can act between two stores of a driver, and polling a register ends. Hardware calls `count`, which advances nothing:
 * devices run beside the CPU and spend time by scheduling their next step with `after`.
 */
import { Count, countNames, xeon2006, type CostPreset, type CountName } from './costs.ts'

/** A scheduled hardware step. */
export interface ClockEvent {
  readonly due: number
  /** Takes the event out of the queue; no effect once it has run. */
  cancel(): void
}

class Event implements ClockEvent {
  readonly due: number
  readonly sequence: number
  action: (() => void) | null
  constructor(due: number, sequence: number, action: () => void) {
    this.due = due
    this.sequence = sequence
    this.action = action
  }
  cancel(): void {
    this.action = null
  }
}

const NOW = 0
const DUE = 1

export class Clock {
  /** How often each event of {@link Count} happened. Written by everyone, through `charge` and `count`. */
  readonly counts = new Float64Array(countNames.length)
  readonly preset: CostPreset
  readonly #cost: Float64Array
  /** [now, due time of the first event] in ns: doubles in a typed array are not boxed. */
  readonly #time = new Float64Array([0, Infinity])
  readonly #heap: Event[] = []
  #sequence = 0
  #running = false

  constructor(preset: CostPreset = xeon2006) {
    this.preset = preset
    this.#cost = Float64Array.from(countNames, (name) => preset[name])
  }

  /** Virtual nanoseconds since the machine was switched on. */
  get now(): number {
    return this.#time[NOW]!
  }

  /** When the next hardware event is due; Infinity when none is. */
  get nextDue(): number {
    return this.#time[DUE]!
  }

  /** Counts `times` events of `kind` on the CPU, spends their time, and runs hardware that became due. */
  charge(kind: number, times = 1): void {
    this.counts[kind]! += times
    const now = (this.#time[NOW]! += this.#cost[kind]! * times)
    if (now >= this.#time[DUE]!) this.#runDue()
  }

  /** Counts `times` events of `kind` in hardware; takes no CPU time. */
  count(kind: number, times = 1): void {
    this.counts[kind]! += times
  }

  /** Runs `action` in hardware context `delay` ns from now. Equal times run in the order of scheduling. */
  after(delay: number, action: () => void): ClockEvent {
    const event = new Event(this.#time[NOW]! + Math.max(0, delay), this.#sequence++, action)
    this.#push(event)
    return event
  }

  /** Advances to the next event and runs what is due then. False when no event is left. */
  advance(): boolean {
    while (this.#heap.length > 0 && this.#heap[0]!.action === null) this.#pop()
    const next = this.#heap[0]
    if (next === undefined) return false
    if (next.due > this.#time[NOW]!) this.#time[NOW] = next.due
    this.#runDue()
    return true
  }

  /** Every counter by name. */
  snapshot(): Record<CountName, number> {
    const result = {} as Record<CountName, number>
    for (const name of countNames) result[name] = this.counts[Count[name]]!
    return result
  }

  // Hardware that charges the CPU clock from inside an event must not recurse: the loop below picks up what became due.
  #runDue(): void {
    if (this.#running) return
    this.#running = true
    try {
      for (let next = this.#heap[0]; next !== undefined && next.due <= this.#time[NOW]!; next = this.#heap[0]) {
        this.#pop()
        const action = next.action
        next.action = null
        action?.()
      }
    } finally {
      this.#running = false
    }
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
    this.#time[DUE] = heap[0]!.due
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length > 0) {
      let at = 0
      for (;;) {
        let child = 2 * at + 1
        if (child >= heap.length) break
        if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
        if (!before(heap[child]!, last)) break
        heap[at] = heap[child]!
        at = child
      }
      heap[at] = last
    }
    this.#time[DUE] = heap.length > 0 ? heap[0]!.due : Infinity
  }
}

function before(a: Event, b: Event): boolean {
  return a.due < b.due || (a.due === b.due && a.sequence < b.sequence)
}
