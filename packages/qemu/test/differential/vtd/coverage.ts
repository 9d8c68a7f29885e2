/** What a run has met, and how much of it a run must meet to count. */
import type { ForecastCoverage } from '../forecast-lane.ts'
import { bump, listed } from '../counts.ts'
import { THRESHOLDS as least } from '../thresholds.ts'
import type { Walk } from './tables.ts'

/** Every reason of legacy mode that a device without ATS can meet (D needs a translation request). */
const REASONS = [0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0x9, 0xa, 0xb, 0xc, 0xe] as const
const PAGE_SIZES = ['4K', '2M', '1G'] as const

export class VtdCoverage implements ForecastCoverage {
  operations = 0
  transfers = 0
  succeeded = 0
  staleHits = 0
  partialInvalidations = 0
  leftOut = 0
  readonly reasons: Record<string, number> = {}
  /** By levels of the table that was walked, and by page size. */
  readonly levels: Record<string, number> = {}
  readonly pageSizes: Record<string, number> = {}
  readonly #tableLevels: readonly number[]

  /** `tableLevels` are those that the unit has. */
  constructor(tableLevels: readonly number[]) {
    this.#tableLevels = tableLevels
  }

  /** `walk` is of memory as it is: what went otherwise was stale. `reason` is the one that was recorded. */
  transfer(through: boolean, walk: Walk, reason: number, stale: boolean): void {
    this.transfers++
    if (through) this.succeeded++
    else if (reason !== 0) bump(this.reasons, reason.toString(16))
    if (stale) this.staleHits++
    else if (walk.levels > 0) {
      bump(this.levels, String(walk.levels))
      bump(this.pageSizes, PAGE_SIZES[walk.leafLevel - 1]!)
    }
  }

  missing(): string[] {
    const out: string[] = []
    const need = (what: string, have: number, want: number) => {
      if (have < want) out.push(`${what}: ${have} of ${want}`)
    }
    need('operations', this.operations, least.operations)
    need('succeeding transfers', this.succeeded, Math.ceil(least.succeeding * this.transfers))
    for (const reason of REASONS)
      need(`reason ${reason.toString(16)}`, this.reasons[reason.toString(16)] ?? 0, least.eachReason)
    for (const count of this.#tableLevels) need(`${count} levels`, this.levels[count] ?? 0, least.eachLevel)
    for (const size of PAGE_SIZES) need(`${size} pages`, this.pageSizes[size] ?? 0, least.eachPageSize)
    need('stale hits', this.staleHits, least.staleHits)
    need('partial invalidations', this.partialInvalidations, least.partialInvalidations)
    return out
  }

  describe(): string[] {
    const { operations, transfers, succeeded, staleHits, partialInvalidations, leftOut, reasons, levels, pageSizes } =
      this
    return [
      `${operations} operations, ${transfers} transfers, ${succeeded} succeeded, ${staleHits} stale hits, ${partialInvalidations} partial invalidations, ${leftOut} left out`,
      `reasons ${listed(reasons)}; levels ${listed(levels)}; pages ${listed(pageSizes)}`,
    ]
  }
}
