/** What guest code is made of: tasks, the groups in which they die together, and the queues on which they wait. */
import type { ClockEvent } from './clock.ts'
import type { Scheduler } from './scheduler.ts'
import { TaskKilled } from './task-errors.ts'

/** @internal */
export const TaskState = { ready: 0, running: 1, waiting: 2, done: 3 } as const

/** One guest thread of control. */
export class Task {
  readonly name: string
  readonly group: TaskGroup
  /** Service tasks do not keep a run alive. */
  readonly daemon: boolean
  /** @internal */ state: number = TaskState.ready
  /** @internal */ reason = ''
  /** @internal */ resolve: (() => void) | null = null
  /** @internal */ reject: ((reason: Error) => void) | null = null
  /** @internal */ refusals = 0
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
    return this.state === TaskState.done
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
    if (this.#dead) task.state = TaskState.done
    else {
      this.tasks.add(task)
      this.scheduler.begin(task)
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

  /**
   * As {@link kill}, and no cleanup runs either: the machine below the group is gone, and what it still knows of it (places in memory
   * above all) is somebody else's. Not from one of the group's own tasks.
   */
  discard(): void {
    this.#dead = true
    for (const task of this.tasks) this.scheduler.discardTask(task)
  }

  /** @internal */ crash(error: unknown, task: Task | null): void {
    if (this.#dead && error instanceof TaskKilled) return
    this.#onCrash(error, task)
  }
}
