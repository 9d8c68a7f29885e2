/** The rings (NVMe 1.4 section 4.1). The controller owns submission heads and completion tails; doorbells move the other ends. */
import type { Command } from './command.ts'
import { CQE_BYTES, SQE_BYTES } from './spec/commands.ts'

abstract class Ring {
  readonly id: number
  /** Bus address of entry 0, page aligned. */
  readonly hi: number
  readonly lo: number
  /** Entries. */
  readonly size: number
  head = 0
  tail = 0

  constructor(id: number, hi: number, lo: number, size: number) {
    this.id = id
    this.hi = hi
    this.lo = lo
    this.size = size
  }

  /** Entries from head to tail. */
  get used(): number {
    const difference = this.tail - this.head
    return difference < 0 ? difference + this.size : difference
  }

  /** How far `index` is ahead of `from`. */
  distance(from: number, index: number): number {
    const difference = index - from
    return difference < 0 ? difference + this.size : difference
  }

  protected highOf(offset: number): number {
    return (this.lo >>> 0) + offset > 0xffff_ffff ? (this.hi + 1) | 0 : this.hi
  }
}

export class CompletionQueue extends Ring {
  /** Whether an entry asks for an interrupt. */
  readonly interrupts: boolean
  /** Phase tag of the next entry: 1 in the first pass, then alternating (4.6). */
  phase = 1
  /** Submission queues that complete here. */
  users = 0
  /** Completed commands that wait for room, oldest first. */
  firstWaiting: Command | null = null
  lastWaiting: Command | null = null

  constructor(id: number, hi: number, lo: number, size: number, interrupts: boolean) {
    super(id, hi, lo, size)
    this.interrupts = interrupts
  }

  get full(): boolean {
    return this.used === this.size - 1
  }

  /** Bus address of the entry at the tail. */
  get tailLow(): number {
    return (this.lo + this.tail * CQE_BYTES) | 0
  }
  get tailHigh(): number {
    return this.highOf(this.tail * CQE_BYTES)
  }

  advance(): void {
    if (++this.tail < this.size) return
    this.tail = 0
    this.phase ^= 1
  }

  push(command: Command): void {
    command.next = null
    if (this.lastWaiting === null) this.firstWaiting = command
    else this.lastWaiting.next = command
    this.lastWaiting = command
  }

  shift(): Command | null {
    const command = this.firstWaiting
    if (command !== null) {
      this.firstWaiting = command.next
      if (this.firstWaiting === null) this.lastWaiting = null
    }
    return command
  }
}

export class SubmissionQueue extends Ring {
  readonly completions: CompletionQueue

  constructor(id: number, hi: number, lo: number, size: number, completions: CompletionQueue) {
    super(id, hi, lo, size)
    this.completions = completions
  }

  /** Bus address of the entry at the head. */
  get headLow(): number {
    return (this.lo + this.head * SQE_BYTES) | 0
  }
  get headHigh(): number {
    return this.highOf(this.head * SQE_BYTES)
  }
}
