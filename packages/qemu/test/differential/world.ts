/** Where everything lies in a differential run. Both boards have the same 64 MiB of RAM and the same three edu devices. */
import { EDU_FUNCTIONS } from '../boards/index.ts'

export const PAGE = 4096

/** Everything from `ARENA` on is cleared for each episode. */
export const ARENA = 0x2000
export const ARENA_FRAMES = 0x100
export const QUEUE = 0x2000
export const WAIT_STATUS = 0x2001
/** Two root tables, and two context tables that both of them name: of bus 0 and of bus 1. */
export const ROOTS = [0x2002, 0x2003] as const
export const CONTEXTS = [0x2004, 0x2005] as const

/** No RAM, and nothing else either. */
export const ABSENT = 0x3_0000

export const REQUESTERS: readonly number[] = EDU_FUNCTIONS
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

/**
 * What a device has fetched it stores here for us to see. The frame's I/O address is its own number, so that a device that passes
 * untranslated finds it too.
 */
export const READBACK = 0x3f0

/** First frames of the runs that leaves lead to: with pages of 2 MiB and 1 GiB, {@link INDICES} reach these too. */
export const DATA = [0x0, 0x200, 0x600] as const
/** A transfer may cross into the frame behind the last one that is named. */
export const DATA_FRAMES = 9

/** Bytes of a run of data frames. */
export const RUN_BYTES = DATA_FRAMES * PAGE

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

/** Bytes of an edu buffer: below, what was fetched; above, what is stored. */
export const STORE_AT = 2048
export const STORE_BYTES = 2047
export const MAX_LENGTH = 1500
