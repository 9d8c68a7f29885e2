/** What an AMD-Vi run has met, and how much of it a run must meet to count. */
import { amdvi } from '@iospace/iommu/spec'
import { bump, listed } from '../counts.ts'
import type { ForecastCoverage } from '../forecast-lane.ts'
import { THRESHOLDS as least } from '../thresholds.ts'
import type { Walk } from './tables.ts'
import { LEVELS } from './world.ts'

const { Fault } = amdvi

/** Every way in which a request of memory fails; those of interrupt messages are none. QEMU tells none of them, but must block too. */
const REASONS = (Object.keys(Fault) as (keyof typeof Fault)[]).filter((name) => !name.startsWith('interrupt'))
const NAMES: Readonly<Record<number, string>> = Object.fromEntries(REASONS.map((name) => [Fault[name], name]))
/** log2 of the bytes of the pages that must come up often: every one up to 256 GiB, and what a level-4 entry leads to by itself. */
const PAGE_SHIFTS = Array.from({ length: 28 }, (_, i) => 12 + i)

export class AmdviCoverage implements ForecastCoverage {
  operations = 0
  transfers = 0
  succeeded = 0
  staleHits = 0
  partialInvalidations = 0
  leftOut = 0
  readonly reasons: Record<string, number> = {}
  readonly levels: Record<string, number> = {}
  readonly pageShifts: Record<string, number> = {}

  /** `walk` is of memory as it is: what went otherwise was stale. */
  transfer(through: boolean, walk: Walk, stale: boolean): void {
    this.transfers++
    if (through) this.succeeded++
    if (stale) {
      this.staleHits++
      return
    }
    if (walk.outcome < 0) bump(this.reasons, NAMES[-walk.outcome] ?? String(-walk.outcome))
    else if (walk.levels > 0) {
      bump(this.levels, String(walk.levels))
      bump(this.pageShifts, String(walk.pageShift))
    }
  }

  missing(): string[] {
    const out: string[] = []
    const need = (what: string, have: number, want: number) => {
      if (have < want) out.push(`${what}: ${have} of ${want}`)
    }
    need('operations', this.operations, least.operations)
    need('succeeding transfers', this.succeeded, Math.ceil(least.succeeding * this.transfers))
    for (const reason of REASONS) need(reason, this.reasons[reason] ?? 0, least.eachReason)
    for (const count of LEVELS) need(`${count} levels`, this.levels[count] ?? 0, least.eachLevel)
    for (const shift of PAGE_SHIFTS) need(`pages of 2^${shift}`, this.pageShifts[shift] ?? 0, least.eachPageSize)
    need('stale hits', this.staleHits, least.staleHits)
    need('partial invalidations', this.partialInvalidations, least.partialInvalidations)
    return out
  }

  describe(): string[] {
    const { operations, transfers, succeeded, staleHits, partialInvalidations, leftOut } = this
    return [
      `${operations} operations, ${transfers} transfers, ${succeeded} succeeded, ${staleHits} stale hits, ${partialInvalidations} partial invalidations, ${leftOut} left out`,
      `reasons ${listed(this.reasons)}`,
      `levels ${listed(this.levels)}; pages of 2^n bytes ${listed(this.pageShifts)}`,
    ]
  }
}
