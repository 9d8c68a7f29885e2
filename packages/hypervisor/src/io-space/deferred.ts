/**
 * Unmapped ranges whose invalidation is not complete: their addresses are taken, their references held. A strict call completes them before
 * it returns; with NO_FLUSH they wait for their ticket, for the domain's limit of entries or age, or for any strict call. Completing one
 * completes all. After a failure they are stuck until a reset lets the unit answer again.
 */
import type { Space } from './space.ts'
import { completeInvalidations } from './invalidate.ts'

/** Ranges beyond which the whole table is invalidated at once: a descriptor each would cost more than the refills. */
const FEW = 32

export class Deferred {
  readonly #space: Space
  /** Page, pages by entry. */
  #ranges = new Int32Array(2 * FEW)
  entries = 0
  /** Pages in those ranges. */
  pages = 0
  /** Virtual time of the oldest entry. */
  since = 0
  /** Highest ticket given out, and highest ticket that is complete. */
  issued = 0
  completed = 0
  #fresh = false
  /** The unit did not answer; frames in `pages` are stuck. */
  failed = false
  #stuck = 0

  constructor(space: Space) {
    this.#space = space
  }

  /** Adds a cleared range. */
  add(page: number, pages: number): void {
    if (this.entries * 2 === this.#ranges.length) {
      const old = this.#ranges
      this.#ranges = new Int32Array(old.length * 2)
      this.#ranges.set(old)
    }
    if (this.entries === 0) this.since = this.#space.core.clock.now
    this.#ranges[this.entries * 2] = page
    this.#ranges[this.entries * 2 + 1] = pages
    this.entries++
    this.#fresh = true
    this.pages += pages
    this.#space.domain.deferred++
  }

  /** The ticket that completes everything so far: a new one if something was added since the last; 0 when nothing is pending. */
  ticket(): number {
    if (this.entries === 0) return 0
    if (this.#fresh) this.issued++
    this.#fresh = false
    return this.issued
  }

  /** Completes every entry and lets go of what they held; false when the unit does not answer: then they are stuck. */
  complete(): boolean {
    const { entries } = this
    if (entries > 0) {
      const space = this.#space
      const ranges = this.#ranges
      if (entries > FEW) space.driver.queueTableInvalidation(space.table)
      else for (let i = 0; i < entries; i++) space.queue(ranges[i * 2]!, ranges[i * 2 + 1]!)
      if (!completeInvalidations(space.core)) {
        this.#fail()
        return false
      }
      this.#letGo(entries)
    }
    this.completed = this.issued
    return true
  }

  /** The space is going, its table invalidated: its entries are let go with everything else. */
  drop(): void {
    this.#space.domain.deferred -= this.entries
    this.#succeed()
    this.entries = 0
    this.pages = 0
    this.completed = this.issued
  }

  #letGo(entries: number): void {
    const space = this.#space
    const ranges = this.#ranges
    this.#succeed()
    this.entries = 0
    this.pages = 0
    space.domain.deferred -= entries
    for (let i = 0; i < entries; i++) {
      const page = ranges[i * 2]!
      const pages = ranges[i * 2 + 1]!
      for (let j = 0; j < pages; j++) space.forget(page + j)
      space.addresses.freed(page, pages)
    }
  }

  #fail(): void {
    const { core, domain } = this.#space
    if (this.failed) domain.stuck -= this.#stuck
    else {
      this.failed = true
      core.devices.afterReset(domain, () => this.#retry())
    }
    this.#stuck = this.pages
    domain.stuck += this.#stuck
  }

  #succeed(): void {
    if (!this.failed) return
    this.failed = false
    this.#space.domain.stuck -= this.#stuck
    this.#stuck = 0
  }

  #retry(): void {
    if (!this.#space.dead) this.complete()
  }
}
