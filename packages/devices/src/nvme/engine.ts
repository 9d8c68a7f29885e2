/**
 * The life of a command (NVMe 1.4 section 7.2): fetched after a doorbell, carried out when its time has come, completed in a queue, told
 * by an interrupt. Queues are served in turn. A DMA of the queues themselves that fails leaves nothing to report through: it is fatal.
 */
import type { Clock, ClockTimer, MachineMemory, Random } from '@iospace/machine'
import { type Command, CommandPool, Stage } from './command.ts'
import type { NvmeDma } from './dma.ts'
import type { ErrorLog } from './error-log.ts'
import type { InterruptLine } from './interrupt-line.ts'
import type { NvmeLatency } from './latency.ts'
import type { CompletionQueue, SubmissionQueue } from './queues.ts'
import { Cqe, CQE_BYTES, PAGE, PHASE, Sqe, SQE_BYTES, STATUS_SHIFT } from './spec/commands.ts'
import { HELD, MORE, STATUS_CODE, Status } from './spec/status.ts'

/** Commands between fetch and completion, over all queues. */
const POOL = 256
/** Entries fetched by one DMA at most. */
const BURST = PAGE / SQE_BYTES

export interface EngineOptions {
  readonly clock: Clock
  readonly memory: MachineMemory
  readonly random: Random
  readonly dma: NvmeDma
  readonly interrupts: InterruptLine
  readonly errors: ErrorLog
  readonly latency: NvmeLatency
  /** I/O queues that can exist. */
  readonly ioQueues: number
  /** Carries a command out: its status, or {@link HELD}. */
  readonly execute: (command: Command) => number
  /** Bytes that a command will move and ns that it takes besides: what its latency follows from. */
  readonly payloadOf: (command: Command) => number
  readonly extraTimeOf: (command: Command) => number
  /** A queue could not be read or written. The engine has stopped. */
  readonly onFatal: () => void
}

export class Engine {
  /** By queue identifier; 0 is the admin queue. */
  readonly submissions: (SubmissionQueue | undefined)[]
  readonly completions: (CompletionQueue | undefined)[]
  readonly #options: EngineOptions
  readonly #pool: CommandPool
  readonly #fetching: ClockTimer
  readonly #fetchAt: number
  readonly #cqeAt: number
  #turn = 0
  /** When the data path is free again, in virtual ns. */
  #pathFree = 0

  constructor(options: EngineOptions) {
    const { clock, memory, ioQueues } = options
    this.#options = options
    this.submissions = Array.from({ length: ioQueues + 1 }, () => undefined)
    this.completions = Array.from({ length: ioQueues + 1 }, () => undefined)
    this.#pool = new CommandPool(POOL, memory, clock, (command) => this.#run(command))
    this.#fetching = clock.timer(() => this.#fetch())
    this.#fetchAt = memory.boardMemory(BURST * SQE_BYTES)
    this.#cqeAt = memory.boardMemory(CQE_BYTES)
  }

  /** Drops every queue and command. */
  stop(): void {
    this.#fetching.cancel()
    this.#pool.reset()
    this.submissions.fill(undefined)
    this.completions.fill(undefined)
    this.#options.interrupts.clear()
    this.#pathFree = 0
  }

  /** The tail of `queue` has moved. */
  submitted(): void {
    if (!this.#fetching.pending) this.#fetching.start(this.#options.latency.fetch)
  }

  /** The host has consumed entries of `queue` up to `head`. */
  consumed(queue: CompletionQueue, head: number): void {
    queue.head = head
    while (!queue.full) {
      const command = queue.shift()
      if (command === null) break
      if (!this.#post(command, queue)) return
    }
    this.#options.interrupts.consumed(this.completions)
  }

  /** Completes `command` with `status` and its `result`. */
  complete(command: Command, status: number): void {
    const queue = command.queue!.completions
    command.timer.cancel()
    command.status = status
    if ((status & STATUS_CODE) !== 0) this.#note(command)
    if (queue.full) {
      command.stage = Stage.waiting
      queue.push(command)
    } else if (this.#post(command, queue)) this.#options.interrupts.posted(queue)
  }

  /** A command of queue `sqid` that has not been carried out yet, other than `not`; or undefined. */
  find(sqid: number, cid: number, not: Command): Command | undefined {
    return this.#pool.commands.find(
      (command) => command !== not && this.#open(command, sqid) && this.#cid(command) === cid,
    )
  }

  /** Commands without an end of their own. */
  held(): Command[] {
    return this.#pool.commands.filter((command) => command.stage === Stage.held)
  }

  /** Takes `queue` away; what it has in flight is aborted. */
  deleteSubmissions(queue: SubmissionQueue): void {
    this.submissions[queue.id] = undefined
    queue.completions.users--
    for (const command of this.#pool.commands) {
      if (this.#open(command, queue.id)) this.complete(command, Status.submissionQueueDeleted)
    }
  }

  /** Takes `queue` away, with completions that found no room in it. */
  deleteCompletions(queue: CompletionQueue): void {
    this.completions[queue.id] = undefined
    for (let command = queue.shift(); command !== null; command = queue.shift()) this.#pool.give(command)
    this.#options.interrupts.consumed(this.completions)
  }

  #open(command: Command, sqid: number): boolean {
    return (command.stage === Stage.running || command.stage === Stage.held) && command.queue!.id === sqid
  }

  #cid(command: Command): number {
    return this.#options.memory.words[command.sqe + Sqe.cdw0]! >>> 16
  }

  #fetch(): void {
    const { submissions } = this
    for (let idle = 0; idle < submissions.length && this.#pool.available > 0;) {
      const queue = submissions[this.#turn]
      this.#turn = this.#turn + 1 === submissions.length ? 0 : this.#turn + 1
      if (queue === undefined || queue.head === queue.tail) idle++
      else {
        idle = 0
        if (!this.#fetchFrom(queue)) return
      }
    }
  }

  #fetchFrom(queue: SubmissionQueue): boolean {
    const { memory, dma } = this.#options
    const upToWrap = queue.tail > queue.head ? queue.tail - queue.head : queue.size - queue.head
    const count = Math.min(upToWrap, BURST, this.#pool.available)
    if (!dma.read(queue.headHigh, queue.headLow, this.#fetchAt, count * SQE_BYTES, dma.control)) return this.#fail()
    for (let i = 0; i < count; i++) {
      const command = this.#pool.take(queue)
      memory.copy(command.at, this.#fetchAt + i * SQE_BYTES, SQE_BYTES)
      command.timer.start(this.#delay(command))
    }
    const head = queue.head + count
    queue.head = head === queue.size ? 0 : head
    return true
  }

  #delay(command: Command): number {
    const { clock, latency, random, payloadOf, extraTimeOf } = this.#options
    const delay = latency.command + random.below(latency.jitter + 1) + extraTimeOf(command)
    const payload = payloadOf(command)
    if (payload === 0) return delay
    this.#pathFree = Math.max(clock.now, this.#pathFree) + payload * latency.perByte
    return this.#pathFree - clock.now + delay
  }

  #run(command: Command): void {
    const status = this.#options.execute(command)
    // What it did to other commands may have met a fatal error: then it is gone with the rest.
    if (command.stage === Stage.free) return
    if (status === HELD) command.stage = Stage.held
    else this.complete(command, status)
  }

  #post(command: Command, queue: CompletionQueue): boolean {
    const { memory, dma } = this.#options
    const { words } = memory
    const { id, head } = command.queue!
    const entry = this.#cqeAt >>> 2
    words[entry + Cqe.dw0] = command.result
    words[entry + Cqe.dw1] = 0
    words[entry + Cqe.queue] = head | (id << 16)
    words[entry + Cqe.status] = this.#cid(command) | (queue.phase * PHASE) | (command.status << STATUS_SHIFT)
    if (!dma.write(queue.tailHigh, queue.tailLow, this.#cqeAt, CQE_BYTES, dma.control)) return this.#fail()
    queue.advance()
    // Entries may have been left unfetched for want of a place.
    if (this.#pool.available === 0) this.submitted()
    this.#pool.give(command)
    return true
  }

  #note(command: Command): void {
    const { memory, errors } = this.#options
    command.status |= MORE
    const lba = memory.view.getBigUint64(command.at + 4 * Sqe.cdw10, true)
    const nsid = memory.words[command.sqe + Sqe.nsid]! >>> 0
    errors.add(command.queue!.id, this.#cid(command), command.status, nsid, command.queue!.id === 0 ? 0n : lba)
  }

  #fail(): false {
    this.stop()
    this.#options.onFatal()
    return false
  }
}
