/** What the scheduler throws into tasks. Guest programs may catch them to clean up; none of them is a mistake of iospace's user. */

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

/** Thrown into a task that is still running when the run's virtual time has passed its limit. */
export class TimeLimitPassed extends Error {
  readonly task: string
  constructor(task: string, limit: number) {
    super(`task ${task} was still running at the limit of ${limit / 1e6} ms of virtual time`)
    this.name = 'TimeLimitPassed'
    this.task = task
  }
}
