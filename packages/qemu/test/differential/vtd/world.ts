/** Tables of a VT-d run, in the memory of both boards. */
import { READBACK } from '../memory-map.ts'

/** Two root tables, and two context tables that both of them name: of bus 0 and of bus 1. */
export const ROOTS = [0x2002, 0x2003] as const
export const CONTEXTS = [0x2004, 0x2005] as const

/** Two edu devices of bus 0, and one behind the root port. */
export const REQUESTERS: readonly number[] = [0x18, 0x20, 0x100]
/** Domain ids: two for each requester, so that what one caches is never the other's. */
export const domainsOf = (requester: number): readonly [number, number] => {
  const first = 1 + 2 * REQUESTERS.indexOf(requester)
  return [first, first + 1]
}
export const DOMAINS = 2 * REQUESTERS.length

/** The tables of a domain, by level. Level 3 is the top of 39-bit tables, level 4 of 48-bit ones. */
export interface DomainTables {
  readonly level: Readonly<Record<1 | 2 | 3 | 4, readonly number[]>>
  /** Leads from entry 0 of the first level-3 table to {@link READBACK}: not touched by random stores. */
  readonly readback: readonly [level2: number, level1: number]
}

export function tablesOf(domain: number): DomainTables {
  const base = 0x2010 + 0x10 * (domain - 1)
  const frames = (first: number, count: number) => Array.from({ length: count }, (_, i) => base + first + i)
  return {
    level: { 4: frames(0, 1), 3: frames(1, 2), 2: frames(3, 3), 1: frames(6, 5) },
    readback: [base + 12, base + 13],
  }
}

/** Entries of a table of each level that random operations use. Entry 0 of level 3 is the way to {@link READBACK}. */
export const INDICES: Readonly<Record<1 | 2 | 3 | 4, readonly number[]>> = {
  4: [0, 1],
  3: [1, 2, 3],
  2: [0, 1, 3],
  1: [0, 1, 2, 7],
}

/** The stores that a fresh start lays out: both root tables, and each domain's way to {@link READBACK}. */
export const FRESH_TABLES: readonly { readonly frame: number; readonly index: number; readonly entry: number }[] = [
  ...ROOTS.flatMap((root) => CONTEXTS.map((frame, bus) => ({ frame: root, index: 2 * bus, entry: (frame << 12) | 1 }))),
  ...Array.from({ length: DOMAINS }, (_, i) => wayToReadback(i + 1)).flat(),
]

function wayToReadback(domain: number) {
  const { level, readback } = tablesOf(domain)
  const path = [level[4][0]!, level[3][0]!, ...readback, READBACK]
  const shifts = [27, 18, 9, 0]
  return shifts.map((shift, i) => ({
    frame: path[i]!,
    index: (READBACK >>> shift) & 511,
    entry: (path[i + 1]! << 12) | 3,
  }))
}
