/**
 * Virtual time: one clock, one queue of due hardware events, one set of counters.
 *
 * CPU code calls `charge`, which counts an event, advances the clock by its cost and runs inline whatever hardware became due. So a
 * device can act between two stores of a driver, and polling a register ends. Hardware calls `count`, which advances nothing:
 * devices run beside the CPU and spend time by scheduling their next step with `after`, or with a `timer` of their own where a
 * fresh object per step would be garbage.
 */
import { Count, countNames, xeon2006, type CostPreset, type CountName } from './costs.ts'

/** A scheduled hardware step. */
export interface ClockEvent {
  /** Virtual ns at which it runs. */
  readonly due: number
  /** Takes the event out of the queue; no effect once it has run. */
  cancel(): void
}

/** A hardware step that its owner schedules again and again. At most one run is scheduled at a time. */
export interface ClockTimer extends ClockEvent {
  /** True from `start` until it runs or is cancelled. */
  readonly pending: boolean
  /** Schedules the step `delay` ns from now, instead of when it was scheduled before. */
  start(delay: number): void
}

const NOW = 0
const DUE = 1
/** Room for more than these two: V8 keeps arrays of up to 64 bytes where reaching their elements takes longer. */
const TIMES = 16
/** Place in the queue of an event that is not in it. */
const NOWHERE = -1

class Event implements ClockTimer {
  due = Infinity
  sequence = 0
  at = NOWHERE
  readonly action: () => void
  declare private readonly clock: Clock

  constructor(clock: Clock, action: () => void) {
    this.clock = clock
    this.action = action
  }

  get pending(): boolean {
    return this.at !== NOWHERE
  }

  start(delay: number): void {
    this.clock.schedule(this, delay)
  }

  cancel(): void {
    if (this.at !== NOWHERE) this.clock.remove(this)
  }
}

export class Clock {
  /** How often each event of {@link Count} happened. Written by everyone, through `charge` and `count`. */
  readonly counts = new Float64Array(countNames.length)
  declare readonly preset: CostPreset
  /** @internal Called in CPU context after due hardware has run: interrupts that it requested are delivered then. */
  afterHardware: () => void = () => {}
  declare private readonly cost: Float64Array
  /** [now, due time of the first event] in ns: doubles in a typed array are not boxed. */
  readonly #time = new Float64Array(TIMES)
  /** The queue: `#events` of its places are in use. It never shrinks, so that scheduling makes no garbage. */
  readonly #heap: Event[] = []
  #events = 0
  readonly #nothing = new Event(this, () => {})
  #sequence = 0
  #running = false

  constructor(preset: CostPreset = xeon2006) {
    this.preset = preset
    this.#time[DUE] = Infinity
    this.cost = Float64Array.from(countNames, (name) => preset[name])
  }

  /** Virtual nanoseconds since the machine was switched on. */
  get now(): number {
    return this.#time[NOW]!
  }

  /** When the next hardware event is due; Infinity when none is. */
  get nextDue(): number {
    return this.#time[DUE]!
  }

  /** True while a hardware event runs: the CPU is between two instructions. */
  get inHardware(): boolean {
    return this.#running
  }

  /** Counts `times` events of `kind` on the CPU, spends their time, and runs hardware that became due. */
  charge(kind: number, times = 1): void {
    this.counts[kind]! += times
    const now = (this.#time[NOW]! += this.cost[kind]! * times)
    if (now >= this.#time[DUE]!) this.#runDue()
  }

  /** As two charges of one event each, with no hardware in between. */
  chargeBoth(first: number, second: number): void {
    this.counts[first]!++
    this.counts[second]!++
    const now = (this.#time[NOW]! += this.cost[first]! + this.cost[second]!)
    if (now >= this.#time[DUE]!) this.#runDue()
  }

  /** Counts `times` events of `kind` in hardware; takes no CPU time. */
  count(kind: number, times = 1): void {
    this.counts[kind]! += times
  }

  /** Runs `action` in hardware context `delay` ns from now. Equal times run in the order of scheduling. */
  after(delay: number, action: () => void): ClockEvent {
    const event = new Event(this, action)
    this.schedule(event, delay)
    return event
  }

  /** A step of hardware that runs when its `start` says; not scheduled yet. */
  timer(action: () => void): ClockTimer {
    return new Event(this, action)
  }

  /** Advances to the next event and runs what is due then. False when no event is left. */
  advance(): boolean {
    if (this.#events === 0) return false
    const next = this.#heap[0]!
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

  /** @internal */ schedule(event: Event, delay: number): void {
    if (event.at !== NOWHERE) this.remove(event)
    event.due = this.#time[NOW]! + Math.max(0, delay)
    event.sequence = this.#sequence++
    this.#rise(event, this.#events++)
    this.#time[DUE] = this.#heap[0]!.due
  }

  /** @internal */ remove(event: Event): void {
    const heap = this.#heap
    const { at } = event
    const end = --this.#events
    const last = heap[end]!
    // What is over is not held.
    heap[end] = this.#nothing
    if (last !== event) {
      if (at > 0 && before(last, heap[(at - 1) >> 1]!)) this.#rise(last, at)
      else this.#sink(last, at)
    }
    event.at = NOWHERE
    this.#time[DUE] = end > 0 ? heap[0]!.due : Infinity
  }

  // Hardware that charges the CPU clock from inside an event must not recurse: the loop below picks up what became due.
  #runDue(): void {
    if (this.#running) return
    this.#running = true
    try {
      while (this.#time[DUE]! <= this.#time[NOW]!) {
        const next = this.#heap[0]!
        this.remove(next)
        next.action()
      }
    } finally {
      this.#running = false
    }
    this.afterHardware()
  }

  #rise(event: Event, from: number): void {
    const heap = this.#heap
    let at = from
    while (at > 0) {
      const above = heap[(at - 1) >> 1]!
      if (!before(event, above)) break
      heap[at] = above
      above.at = at
      at = (at - 1) >> 1
    }
    heap[at] = event
    event.at = at
  }

  #sink(event: Event, from: number): void {
    const heap = this.#heap
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#events) break
      if (child + 1 < this.#events && before(heap[child + 1]!, heap[child]!)) child++
      const below = heap[child]!
      if (!before(below, event)) break
      heap[at] = below
      below.at = at
      at = child
    }
    heap[at] = event
    event.at = at
  }
}

function before(a: Event, b: Event): boolean {
  return a.due < b.due || (a.due === b.due && a.sequence < b.sequence)
}
