/**
 * Guest tasks in one host thread: the loop resumes one ready task, lets it run until nothing of it is left to run, then takes the
 * next; with none ready it advances the clock to the next hardware event. The seed chooses among ready tasks.
 *
 * A task is an async function that awaits only what this file hands out (`sleep`, `WaitQueue.wait`, `join`): then a run is a pure
 * function of seed and input. An await of anything else is found and reported.
 */
import { Clock, type ClockEvent } from './clock.ts'
import { Count } from './costs.ts'
import type { Random } from './random.ts'

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

/** Rejects the waits of a killed task, so that its `finally` and `using` run. */
export class TaskKilled extends Error {
  constructor(task: string) {
    super(`task ${task} was killed`)
    this.name = 'TaskKilled'
  }
}

/** Thrown into a task that ran for longer than its group allows without waiting for anything. */
export class TaskHung extends Error {
  readonly task: string
  constructor(task: string, limit: number) {
    super(`task ${task} ran for more than ${limit / 1e6} ms of virtual time without waiting`)
    this.name = 'TaskHung'
    this.task = task
  }
}

const State = { ready: 0, running: 1, waiting: 2, done: 3 } as const

/** One guest thread of control. */
export class Task {
  readonly name: string
  readonly group: TaskGroup
  /** Service tasks do not keep a run alive. */
  readonly daemon: boolean
  /** @internal */ state: number = State.ready
  /** @internal */ reason = ''
  /** @internal */ resolve: (() => void) | null = null
  /** @internal */ reject: ((reason: Error) => void) | null = null
  /** @internal */ queue: WaitQueue | null = null
  /** @internal */ timer: ClockEvent | null = null
  /** @internal */ timedOut = false
  /** @internal */ body: (() => Promise<void>) | null
  /** @internal */ readonly ended: WaitQueue

  /** @internal */
  constructor(name: string, group: TaskGroup, daemon: boolean, body: () => Promise<void>) {
    this.name = name
    this.group = group
    this.daemon = daemon
    this.body = body
    this.ended = new WaitQueue(group.scheduler, `the end of ${name}`)
  }

  get done(): boolean {
    return this.state === State.done
  }

  /** Waits in the calling task until this one has ended. */
  async join(): Promise<void> {
    while (!this.done) await this.ended.wait()
  }
}

/** What tasks wait on. Spurious wakes are possible: callers test their condition in a loop. */
export class WaitQueue {
  readonly #scheduler: Scheduler
  readonly #reason: string
  readonly #tasks: Task[] = []

  constructor(scheduler: Scheduler, reason: string) {
    this.#scheduler = scheduler
    this.#reason = reason
  }

  /** Suspends the calling task until a wake. */
  wait(): Promise<void> {
    return this.#scheduler.suspend(this.#reason, this, -1) as Promise<unknown> as Promise<void>
  }

  /** As {@link wait}, but at most `ns` of virtual time: false when the time ran out first. */
  waitAtMost(ns: number): Promise<boolean> {
    return this.#scheduler.suspend(this.#reason, this, ns)
  }

  /** Makes the task that has waited longest ready. */
  wake(): void {
    const task = this.#tasks.shift()
    if (task !== undefined) this.#scheduler.makeReady(task)
  }

  /** Makes every waiting task ready. */
  wakeAll(): void {
    while (this.#tasks.length > 0) this.wake()
  }

  /** @internal */ add(task: Task): void {
    this.#tasks.push(task)
  }
  /** @internal */ remove(task: Task): void {
    const at = this.#tasks.indexOf(task)
    if (at >= 0) this.#tasks.splice(at, 1)
  }
}

/** The tasks of one domain (or of bare hardware): they crash and die together. */
export class TaskGroup {
  readonly name: string
  readonly scheduler: Scheduler
  /** Called once, outside any task, with the error that ended a task of the group. */
  readonly #onCrash: (error: unknown, task: Task | null) => void
  /** @internal */ readonly tasks = new Set<Task>()
  #dead = false

  /** @internal */
  constructor(scheduler: Scheduler, name: string, onCrash: (error: unknown, task: Task | null) => void) {
    this.scheduler = scheduler
    this.name = name
    this.#onCrash = onCrash
  }

  get dead(): boolean {
    return this.#dead
  }

  /** Starts a task; it first runs when the loop takes it. */
  spawn(name: string, body: () => Promise<void>, options: { readonly daemon?: boolean } = {}): Task {
    const task = new Task(name, this, options.daemon ?? false, body)
    if (this.#dead) task.state = State.done
    else {
      this.tasks.add(task)
      this.scheduler.makeReady(task)
    }
    return task
  }

  /** Runs `handler` between two tasks, as an interrupt of this group; not at all once the group is dead. */
  interrupt(handler: () => void): void {
    this.scheduler.post(this, handler)
  }

  /** Rejects every wait of the group and refuses new tasks. The tasks' cleanups run in the loop. */
  kill(): void {
    if (this.#dead) return
    this.#dead = true
    for (const task of this.tasks) this.scheduler.killTask(task)
  }

  /** @internal */ crash(error: unknown, task: Task | null): void {
    if (this.#dead && error instanceof TaskKilled) return
    this.#onCrash(error, task)
  }
}

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
  readonly clock: Clock
  readonly #random: Random
  readonly #turn: () => Promise<void>
  readonly #timeLimit: number
  readonly #hangLimit: number
  readonly #ready: Task[] = []
  readonly #posted: { readonly group: TaskGroup; readonly handler: () => void }[] = []
  readonly #groups: TaskGroup[] = []
  #current: Task | null = null
  #sliceEnd = Infinity

  constructor({ clock, random, turn, timeLimit = Infinity, hangLimit = 10e9 }: SchedulerOptions) {
    this.clock = clock
    this.#random = random
    this.#turn = turn
    this.#timeLimit = timeLimit
    this.#hangLimit = hangLimit
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
   * has run past its slice. Never called with hypervisor work half done.
   */
  enter(): void {
    if (this.clock.now > this.#sliceEnd) {
      this.#sliceEnd = Infinity
      throw new TaskHung(this.#current?.name ?? 'an interrupt handler', this.#hangLimit)
    }
  }

  /** Runs until every task that is not a daemon has ended, or nothing can go on. */
  async run(): Promise<RunOutcome> {
    for (;;) {
      if (this.clock.now > this.#timeLimit) return { kind: 'timeLimit', limit: this.#timeLimit, waiting: this.#waiting() }
      const posted = this.#posted.shift()
      if (posted !== undefined) this.#runInterrupt(posted)
      else if (this.#ready.length > 0) await this.#runTask()
      else if (!this.#alive()) return { kind: 'finished' }
      else if (!this.clock.advance()) return { kind: 'stuck', waiting: this.#waiting() }
    }
  }

  /** @internal */ suspend(reason: string, queue: WaitQueue | null, ns: number): Promise<boolean> {
    const task = this.#current
    if (task === null) throw new Error(`only a task can wait for ${reason}`)
    if (task.group.dead) return Promise.reject(new TaskKilled(task.name))
    task.state = State.waiting
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
    if (task.state === State.done || task.state === State.running) return
    task.queue?.remove(task)
    task.queue = null
    task.timer?.cancel()
    task.timer = null
    task.state = State.ready
    this.#ready.push(task)
  }

  /** @internal */ killTask(task: Task): void {
    if (task.state !== State.waiting && task.state !== State.ready) return
    const killed = new TaskKilled(task.name)
    if (task.body !== null) {
      // It never ran: nothing to clean up.
      task.body = null
      this.#end(task)
      return
    }
    const reject = task.reject
    task.resolve = reject === null ? null : () => reject(killed)
    if (task.state === State.waiting) this.makeReady(task)
  }

  /** @internal */ post(group: TaskGroup, handler: () => void): void {
    this.#posted.push({ group, handler })
  }

  #runInterrupt({ group, handler }: { readonly group: TaskGroup; readonly handler: () => void }): void {
    if (group.dead) return
    this.#sliceEnd = this.clock.now + this.#hangLimit
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
    if (task.state !== State.ready) return
    this.clock.charge(Count.taskSwitch)
    this.#current = task
    this.#sliceEnd = this.clock.now + this.#hangLimit
    task.state = State.running
    const { body, resolve } = task
    task.body = null
    task.resolve = null
    task.reject = null
    if (body !== null) this.#start(task, body)
    else resolve?.()
    await this.#turn()
    if (task.state === State.running) {
      task.state = State.waiting
      task.reason = 'something that is not of this machine'
    }
    this.#current = null
    this.#sliceEnd = Infinity
  }

  #start(task: Task, body: () => Promise<void>): void {
    // The call itself may throw before its first await.
    void Promise.resolve()
      .then(body)
      .then(
        () => this.#end(task),
        (error: unknown) => {
          this.#end(task)
          task.group.crash(error, task)
        },
      )
  }

  #end(task: Task): void {
    task.state = State.done
    task.group.tasks.delete(task)
    task.ended.wakeAll()
  }

  #alive(): boolean {
    for (const group of this.#groups) for (const task of group.tasks) if (!task.daemon) return true
    return false
  }

  #waiting(): Waiting[] {
    const result: Waiting[] = []
    for (const group of this.#groups) {
      for (const task of group.tasks) {
        if (!task.daemon) result.push({ task: task.name, group: group.name, reason: task.state === State.ready ? 'its turn' : task.reason })
      }
    }
    return result
  }
}
