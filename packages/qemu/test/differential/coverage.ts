/** What a run has met, and how much of it a run must meet to count. */
import type { Walk } from './tables.ts'

/** Least counts of the issue: a run that meets less has shown too little. */
export interface Thresholds {
  readonly operations: number
  /** Part of the translations that succeed. */
  readonly succeeding: number
  readonly eachReason: number
  readonly eachLevel: number
  readonly eachPageSize: number
  readonly staleHits: number
  readonly partialInvalidations: number
}

export const FULL_RUN: Thresholds = {
  operations: 20_000,
  succeeding: 0.3,
  eachReason: 50,
  eachLevel: 200,
  eachPageSize: 200,
  staleHits: 500,
  partialInvalidations: 200,
}

/** So many, that the rarest things come up often enough whatever the seed. */
export const RUN_OPERATIONS = 1.3 * FULL_RUN.operations

/** Every reason of legacy mode that a device without ATS can meet (D needs a translation request). */
const REASONS = [0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0x9, 0xa, 0xb, 0xc, 0xe] as const
const PAGE_SIZES = ['4K', '2M', '1G'] as const

export class Coverage {
  operations = 0
  transfers = 0
  succeeded = 0
  staleHits = 0
  partialInvalidations = 0
  readonly reasons: Record<string, number> = {}
  /** By levels of the table that was walked, and by page size. */
  readonly levels: Record<string, number> = {}
  readonly pageSizes: Record<string, number> = {}

  /** `walk` is the one that the transfer took: null for a stale or a blocked one. */
  transfer(through: boolean, walk: Pick<Walk, 'context' | 'leafLevel'> | null, reason: number, stale: boolean): void {
    this.transfers++
    if (through) this.succeeded++
    else if (reason !== 0) bump(this.reasons, reason.toString(16))
    if (stale) this.staleHits++
    if (walk === null || walk.context === null || walk.leafLevel === 0) return
    bump(this.levels, String(walk.context.levels))
    bump(this.pageSizes, PAGE_SIZES[walk.leafLevel - 1]!)
  }

  /** What is missing, in words; empty when the run is enough. `levels` are those that the unit has. */
  missing(least: Thresholds, levels: readonly number[]): string[] {
    const out: string[] = []
    const need = (what: string, have: number, want: number) => {
      if (have < want) out.push(`${what}: ${have} of ${want}`)
    }
    need('operations', this.operations, least.operations)
    need('succeeding transfers', this.succeeded, Math.ceil(least.succeeding * this.transfers))
    for (const reason of REASONS)
      need(`reason ${reason.toString(16)}`, this.reasons[reason.toString(16)] ?? 0, least.eachReason)
    for (const count of levels) need(`${count} levels`, this.levels[count] ?? 0, least.eachLevel)
    for (const size of PAGE_SIZES) need(`${size} pages`, this.pageSizes[size] ?? 0, least.eachPageSize)
    need('stale hits', this.staleHits, least.staleHits)
    need('partial invalidations', this.partialInvalidations, least.partialInvalidations)
    return out
  }
}

function bump(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
