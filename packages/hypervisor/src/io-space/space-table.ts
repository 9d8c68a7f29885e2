/** A domain's spaces by id. Ids are never reissued, so there may be large gaps between them. */
import type { Space } from './space.ts'

export class SpaceTable {
  readonly #spaces = new Map<number, Space>()
  /** The one that was looked up last: calls come in series. */
  #last: Space | undefined

  get(id: number): Space | undefined {
    if (this.#last !== undefined && this.#last.id === id) return this.#last
    this.#last = this.#spaces.get(id)
    return this.#last
  }

  add(space: Space): void {
    this.#spaces.set(space.id, space)
  }

  remove(id: number): void {
    this.#spaces.delete(id)
    this.#last = undefined
  }

  clear(): void {
    this.#spaces.clear()
    this.#last = undefined
  }

  [Symbol.iterator](): Iterator<Space> {
    return this.#spaces.values()
  }
}
