/** Interrupt handlers that wait to run, each with its group, in order: two columns of a ring that grows when it must, so that posting makes no garbage. */
import { StateError } from '@iospace/wire'
import type { TaskGroup } from './tasks.ts'

/** A power of two. */
const FIRST_SIZE = 16

export class HandlerRing {
  #groups: (TaskGroup | null)[] = Array.from({ length: FIRST_SIZE }, () => null)
  #handlers: ((() => void) | null)[] = Array.from({ length: FIRST_SIZE }, () => null)
  #head = 0
  #count = 0

  get empty(): boolean {
    return this.#count === 0
  }

  push(group: TaskGroup, handler: () => void): void {
    if (this.#count === this.#groups.length) this.#grow()
    const at = (this.#head + this.#count++) & (this.#groups.length - 1)
    this.#groups[at] = group
    this.#handlers[at] = handler
  }

  /** Group of the oldest. StateError when there is none. */
  group(): TaskGroup {
    const group = this.#groups[this.#head] ?? null
    if (group === null) throw new StateError('interrupt handlers', 'none waits')
    return group
  }

  /** Takes the oldest out. StateError when there is none. */
  shift(): () => void {
    const at = this.#head
    const handler = this.#handlers[at] ?? null
    if (handler === null) throw new StateError('interrupt handlers', 'none waits')
    this.#groups[at] = null
    this.#handlers[at] = null
    this.#head = (at + 1) & (this.#groups.length - 1)
    this.#count--
    return handler
  }

  #grow(): void {
    const { length } = this.#groups
    const [groups, handlers] = [this.#groups, this.#handlers]
    const turned = <T>(column: readonly (T | null)[]): (T | null)[] =>
      Array.from({ length: 2 * length }, (_, i) => (i < length ? column[(this.#head + i) & (length - 1)]! : null))
    this.#groups = turned(groups)
    this.#handlers = turned(handlers)
    this.#head = 0
  }
}
