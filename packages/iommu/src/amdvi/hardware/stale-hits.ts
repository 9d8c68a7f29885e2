/** Compares what the unit's caches served with what memory grants; see ../../stale-hit.ts. */
import type { MachineMemory } from '@iospace/machine'
import type { StaleHit, StaleHitHandler } from '../../stale-hit.ts'
import { frameOf } from '../addresses.ts'
import { Rights } from '../spec/entries.ts'
import type { AmdviWalk } from '../walk.ts'

export class StaleHits {
  /** Null: nobody asks. */
  handler: StaleHitHandler | null = null
  declare private readonly memory: MachineMemory
  declare private readonly walk: AmdviWalk
  readonly #hit: StaleHit = { requester: 0, hi: 0, lo: 0, write: false, mfn: 0 }

  /** `walk`: one of its own, so that nothing of the unit's changes. */
  constructor(memory: MachineMemory, walk: AmdviWalk) {
    this.memory = memory
    this.walk = walk
  }

  /** An access was let through to RAM frame `index`, −1 for no RAM; with the device table as for {@link AmdviWalk.request}. */
  check(
    deviceTable: number,
    pages: number,
    requester: number,
    hi: number,
    lo: number,
    write: boolean,
    index: number,
  ): void {
    const { handler, memory } = this
    if (handler === null) return
    const granted = this.walk.request(deviceTable, pages, requester, hi, lo, write ? Rights.write : Rights.read)
    if (granted >= 0 && memory.frameIndex(granted) === index) return
    const hit = this.#hit
    hit.requester = requester
    hit.hi = hi
    hit.lo = lo
    hit.write = write
    hit.mfn = index < 0 ? -1 : memory.frameAt(index)
    handler(hit)
  }

  /** The same for an access that passed as it is. */
  checkPassed(deviceTable: number, pages: number, requester: number, hi: number, lo: number, write: boolean): void {
    this.check(deviceTable, pages, requester, hi, lo, write, this.memory.frameIndex(frameOf(hi, lo)))
  }
}
