/** Commands between fetch and completion: a fixed pool, so that none of them is garbage. */
import type { Clock, ClockTimer, MachineMemory } from '@iospace/machine'
import { SQE_BYTES } from './spec/commands.ts'
import type { SubmissionQueue } from './queues.ts'

/** Where a command of the pool is. */
export const Stage = {
  free: 0,
  /** Its timer runs. */
  running: 1,
  /** Without an end of its own: an asynchronous event request. */
  held: 2,
  /** Done, and its completion queue is full. */
  waiting: 3,
} as const

export class Command {
  /** Byte offset and word index of its submission queue entry in board memory. */
  readonly at: number
  readonly sqe: number
  readonly timer: ClockTimer
  stage: number = Stage.free
  /** Null only while free. */
  queue: SubmissionQueue | null = null
  /** Completion: status and command specific result. */
  status = 0
  result = 0
  next: Command | null = null

  constructor(at: number, clock: Clock, run: (command: Command) => void) {
    this.at = at
    this.sqe = at >>> 2
    this.timer = clock.timer(() => run(this))
  }
}

export class CommandPool {
  readonly commands: readonly Command[]
  #free: Command | null = null
  #available: number

  constructor(size: number, memory: MachineMemory, clock: Clock, run: (command: Command) => void) {
    const at = memory.boardMemory(size * SQE_BYTES)
    this.commands = Array.from({ length: size }, (_, i) => new Command(at + i * SQE_BYTES, clock, run))
    this.#available = 0
    for (const command of this.commands) this.give(command)
  }

  get available(): number {
    return this.#available
  }

  /** Takes a free command; only while {@link available} is above 0. */
  take(queue: SubmissionQueue): Command {
    const command = this.#free!
    this.#free = command.next
    this.#available--
    command.next = null
    command.queue = queue
    command.status = 0
    command.result = 0
    command.stage = Stage.running
    return command
  }

  give(command: Command): void {
    command.timer.cancel()
    command.stage = Stage.free
    command.queue = null
    command.next = this.#free
    this.#free = command
    this.#available++
  }

  /** Drops every command. */
  reset(): void {
    for (const command of this.commands) if (command.stage !== Stage.free) this.give(command)
  }
}
