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
  declare private readonly space: Space
  /** Page, pages by entry. */
  #ranges = new Int32Array(4 * FEW)
  entries = 0
  /** Virtual time of the oldest entry. */
  since = 0
  /** Highest ticket given out, and highest ticket that is complete. */
  issued = 0
  completed = 0
  /** Entries that the last ticket is for. */
  #ticketed = 0
  /** Pages that are stuck, because the unit did not answer. */
  #stuck = 0

  constructor(space: Space) {
    this.space = space
  }

  /** Pages in the pending ranges. */
  get pages(): number {
    let pages = 0
    for (let i = 0; i < this.entries; i++) pages += this.#ranges[i * 2 + 1]!
    return pages
  }

  /** Adds a cleared range. */
  add(page: number, pages: number): void {
    const at = this.entries * 2
    if (at === this.#ranges.length) this.#grow()
    if (at === 0) this.since = this.space.core.clock.now
    this.#ranges[at] = page
    this.#ranges[at + 1] = pages
    this.entries++
  }

  /** The ticket that completes everything so far: a new one if something was added since the last; 0 when nothing is pending. */
  ticket(): number {
    if (this.entries === 0) return 0
    if (this.entries > this.#ticketed) this.issued++
    this.#ticketed = this.entries
    return this.issued
  }

  /** Completes every entry and lets go of what they held; false when the unit does not answer: then they are stuck. */
  complete(): boolean {
    const { entries } = this
    if (entries > 0) {
      const space = this.space
      const ranges = this.#ranges
      if (entries > FEW) space.driver.queueTableInvalidation(space.table)
      else for (let i = 0; i < entries; i++) space.queue(ranges[i * 2]!, ranges[i * 2 + 1]!)
      if (!completeInvalidations(space.core)) {
        this.#fail()
        return false
      }
      this.#succeed()
      this.entries = 0
      this.#ticketed = 0
      space.forgetAll(ranges, entries)
    }
    this.completed = this.issued
    return true
  }

  /** The space is going, its table invalidated: its entries are let go with everything else. */
  drop(): void {
    this.#succeed()
    this.entries = 0
    this.#ticketed = 0
    this.completed = this.issued
  }

  #fail(): void {
    const { core, domain } = this.space
    domain.stuck -= this.#stuck
    if (this.#stuck === 0) core.devices.afterReset(domain, () => this.#retry())
    this.#stuck = this.pages
    domain.stuck += this.#stuck
  }

  #succeed(): void {
    this.space.domain.stuck -= this.#stuck
    this.#stuck = 0
  }

  #retry(): void {
    if (this.space.dead) return
    this.#succeed()
    this.complete()
  }

  #grow(): void {
    const ranges = this.#ranges
    this.#ranges = new Int32Array(ranges.length * 2)
    this.#ranges.set(ranges)
  }
}
