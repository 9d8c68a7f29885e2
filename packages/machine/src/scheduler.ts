/**
 * Guest tasks in one host thread: the loop resumes one ready task, lets it run until nothing of it is left to run, then takes the
 * next; with none ready it advances the clock to the next hardware event. The seed chooses among ready tasks.
 *
 * A task is an async function that awaits only what this file hands out (`sleep`, `WaitQueue.wait`, `join`), one wait at a time:
 * then a run is a pure function of seed and input. An await of anything else is found and ends the task with a StateError.
 */
import { StateError } from '@iospace/wire'
import type { Clock } from './clock.ts'
import { Count } from './costs.ts'
import type { Random } from './random.ts'
import { HandlerRing } from './handler-ring.ts'
import { TaskHung, TaskKilled, TimeLimitPassed } from './task-errors.ts'
import { type Task, TaskGroup, TaskState, WaitQueue } from './tasks.ts'

/** Why a waiting task cannot go on: shown when a run is stuck. */
export interface Waiting {
  readonly task: string
  readonly group: string
  readonly reason: string
}

export type RunOutcome =
  | { readonly kind: 'finished' }
  /** Nothing is left to run and tasks wait. */
  | { readonly kind: 'stuck'; readonly waiting: readonly Waiting[] }
  /** The virtual-time limit passed. */
  | { readonly kind: 'timeLimit'; readonly limit: number; readonly waiting: readonly Waiting[] }

/** How often the waits of a killed task are refused before it is left alone: more than any chain of cleanups, less than a loop. */
const MAX_REFUSALS = 100

/** Steps of the loop after which the host gets a turn even if no task has run: some milliseconds, for its signals and timers. */
const STEPS_PER_TURN = 512

export interface SchedulerOptions {
  readonly clock: Clock
  readonly random: Random
  /** Resolves after every microtask of the resumed task has run: one macrotask of the host. */
  readonly turn: () => Promise<void>
  /** Virtual ns after which a run ends. */
  readonly timeLimit?: number
  /** Virtual ns that a task may run without waiting, checked where it enters the machine. */
  readonly hangLimit?: number
}

export class Scheduler {
  declare readonly clock: Clock
  readonly #random: Random
  readonly #turn: () => Promise<void>
  readonly #timeLimit: number
  readonly #hangLimit: number
  readonly #ready: Task[] = []
  readonly #posted = new HandlerRing()
  readonly #groups: TaskGroup[] = []
  /** Tasks that have not ended and are no daemons. */
  #alive = 0
  #current: Task | null = null
  #sliceEnd = Infinity

  constructor({ clock, random, turn, timeLimit = Infinity, hangLimit = 10e9 }: SchedulerOptions) {
    this.clock = clock
    this.#random = random
    this.#turn = turn
    this.#timeLimit = timeLimit
    this.#hangLimit = hangLimit
  }

  /** True while a task runs, or it or an interrupt handler can before time has to pass. */
  get busy(): boolean {
    return this.#current !== null || this.#ready.length > 0 || !this.#posted.empty
  }

  /** A new group. `onCrash` gets what its tasks or interrupt handlers throw. */
  group(name: string, onCrash: (error: unknown, task: Task | null) => void): TaskGroup {
    const group = new TaskGroup(this, name, onCrash)
    this.#groups.push(group)
    return group
  }

  /** A queue to wait on; `reason` completes the sentence “waits for …”. */
  queue(reason: string): WaitQueue {
    return new WaitQueue(this, reason)
  }

  /** Suspends the calling task for `ns` of virtual time. */
  async sleep(ns: number): Promise<void> {
    await this.suspend('a timer', null, ns)
  }

  /**
   * The check where guest code enters the machine (hypercall, register access, `relax`): throws {@link TaskHung} into a task that
   * has run past its slice, or {@link TimeLimitPassed}. Never called with hypervisor work half done.
   */
  enter(): void {
    if (this.clock.now > this.#sliceEnd) {
      const task = this.#current?.name ?? 'an interrupt handler'
      const late = this.clock.now > this.#timeLimit
      // Time for its cleanups; a task that goes on in spite of the error meets it again.
      this.#sliceEnd = this.clock.now + this.#hangLimit
      throw late ? new TimeLimitPassed(task, this.#timeLimit) : new TaskHung(task, this.#hangLimit)
    }
  }

  /** Runs until every task that is not a daemon has ended, or nothing can go on. */
  async run(): Promise<RunOutcome> {
    for (let steps = 1; ; steps++) {
      if (this.clock.now > this.#timeLimit) return this.#late()
      // Interrupts and hardware alone can keep a machine busy for as long as a disk is large.
      if (steps % STEPS_PER_TURN === 0) await this.#turn()
      if (!this.#posted.empty) this.#runInterrupt()
      else if (this.#ready.length > 0) await this.#runTask()
      else if (this.#alive === 0) return { kind: 'finished' }
      else if (this.clock.nextDue === Infinity) return { kind: 'stuck', waiting: this.#waiting() }
      else if (this.clock.nextDue > this.#timeLimit) return this.#late()
      else this.clock.advance()
    }
  }

  /** @internal */ suspend(reason: string, queue: WaitQueue | null, ns: number): Promise<boolean> {
    const task = this.#current
    if (task === null) throw new StateError('scheduler', `only a task can wait for ${reason}`)
    if (task.group.dead) return this.#refuse(task)
    if (task.state !== TaskState.running)
      throw new StateError(
        `task ${task.name}`,
        `cannot wait for ${reason} while it waits for ${task.reason}: spawn a task for each`,
      )
    task.state = TaskState.waiting
    task.reason = reason
    task.queue = queue
    task.timedOut = false
    queue?.add(task)
    if (ns >= 0) {
      task.timer = this.clock.after(ns, () => {
        task.timer = null
        task.timedOut = true
        this.makeReady(task)
      })
    }
    return new Promise((resolve, reject) => {
      task.resolve = () => resolve(!task.timedOut)
      task.reject = reject
    })
  }

  /** @internal */ makeReady(task: Task): void {
    if (task.state === TaskState.done || task.state === TaskState.running) return
    task.queue?.remove(task)
    task.queue = null
    task.timer?.cancel()
    task.timer = null
    task.state = TaskState.ready
    this.#ready.push(task)
  }

  /** @internal */ killTask(task: Task): void {
    if (task.state !== TaskState.waiting && task.state !== TaskState.ready) return
    const killed = new TaskKilled(task.name)
    if (task.body !== null) {
      // It never ran: nothing to clean up.
      task.body = null
      this.#end(task)
      return
    }
    const reject = task.reject
    task.resolve = reject === null ? null : () => reject(killed)
    if (task.state === TaskState.waiting) this.makeReady(task)
  }

  /** @internal */ discardTask(task: Task): void {
    if (task.state === TaskState.running) throw new StateError(`task ${task.name}`, 'cannot be discarded while it runs')
    this.#end(task)
  }

  /** @internal */ post(group: TaskGroup, handler: () => void): void {
    this.#posted.push(group, handler)
  }

  /** @internal A new task of a living group. */ begin(task: Task): void {
    if (!task.daemon) this.#alive++
    this.makeReady(task)
  }

  // A killed program that catches every error and waits again would loop in the host for ever: at last it gets no answer.
  #refuse(task: Task): Promise<never> {
    if (++task.refusals <= MAX_REFUSALS) return Promise.reject(new TaskKilled(task.name))
    this.#end(task)
    return new Promise(() => {})
  }

  #late(): RunOutcome {
    return { kind: 'timeLimit', limit: this.#timeLimit, waiting: this.#waiting() }
  }

  #startSlice(): void {
    this.#sliceEnd = Math.min(this.clock.now + this.#hangLimit, this.#timeLimit)
  }

  #runInterrupt(): void {
    const group = this.#posted.group()
    // Taken out before it runs: it may post.
    const handler = this.#posted.shift()
    if (group.dead) return
    this.#startSlice()
    this.clock.charge(Count.eventUpcall)
    try {
      handler()
    } catch (error) {
      group.crash(error, null)
    }
    this.#sliceEnd = Infinity
  }

  async #runTask(): Promise<void> {
    const at = this.#ready.length === 1 ? 0 : this.#random.below(this.#ready.length)
    const task = this.#ready[at]!
    this.#ready[at] = this.#ready[this.#ready.length - 1]!
    this.#ready.pop()
    if (task.state !== TaskState.ready) return
    this.clock.charge(Count.taskSwitch)
    this.#current = task
    this.#startSlice()
    task.state = TaskState.running
    const { body, resolve } = task
    task.body = null
    task.resolve = null
    task.reject = null
    if (body !== null) this.#start(task, body)
    else resolve?.()
    await this.#turn()
    this.#current = null
    this.#sliceEnd = Infinity
    if (task.state === TaskState.running) {
      this.#end(task)
      task.group.crash(new StateError(`task ${task.name}`, 'awaits something that is not of this machine'), task)
    }
  }

  #start(task: Task, body: () => Promise<void>): void {
    // The call itself may throw before its first await.
    void Promise.resolve()
      .then(body)
      .then(
        () => this.#end(task),
        (error: unknown) => {
          // One that was given up as foreign has been reported.
          if (task.done) return
          this.#end(task)
          task.group.crash(error, task)
        },
      )
  }

  #end(task: Task): void {
    if (task.done) return
    task.queue?.remove(task)
    task.timer?.cancel()
    task.state = TaskState.done
    if (!task.daemon) this.#alive--
    task.group.tasks.delete(task)
    task.ended.wakeAll()
  }

  #waiting(): Waiting[] {
    const result: Waiting[] = []
    for (const group of this.#groups) {
      for (const task of group.tasks) {
        if (!task.daemon)
          result.push({
            task: task.name,
            group: group.name,
            reason: task.state === TaskState.ready ? 'its turn' : task.reason,
          })
      }
    }
    return result
  }
}
