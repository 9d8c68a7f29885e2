/** Compares what the unit's caches served with what memory grants; see ../../stale-hit.ts. */
import type { MachineMemory } from '@iospace/machine'
import type { StaleHit, StaleHitHandler } from '../../stale-hit.ts'
import type { VtdWalk } from '../walk.ts'

export class StaleHits {
  declare private readonly memory: MachineMemory
  declare private readonly walk: VtdWalk
  readonly #hit: StaleHit = { requester: 0, hi: 0, lo: 0, write: false, mfn: 0 }

  /** `walk`: one of its own, so that nothing of the unit's changes. */
  constructor(memory: MachineMemory, walk: VtdWalk) {
    this.memory = memory
    this.walk = walk
  }

  /** A request of `need` was let through to RAM frame `index`, or below 0 to no RAM. */
  check(
    handler: StaleHitHandler,
    rootTable: number,
    requester: number,
    hi: number,
    lo: number,
    need: number,
    write: boolean,
    index: number,
  ): void {
    const { memory } = this
    const granted = this.walk.request(rootTable, requester, hi, lo, need)
    const there = granted < 0 ? -1 : memory.frameIndex(granted)
    // No RAM is no RAM, whatever its number.
    if (granted >= 0 && (there === index || (there < 0 && index < 0))) return
    const hit = this.#hit
    hit.requester = requester
    hit.hi = hi
    hit.lo = lo
    hit.write = write
    hit.mfn = index < 0 ? -1 : memory.frameAt(index)
    handler(hit)
  }
}
