/** Tables of an AMD-Vi run, in the memory of both boards. */
import { PAGE, READBACK } from '../memory-map.ts'

export type Level = 1 | 2 | 3 | 4 | 5 | 6
export const LEVELS: readonly Level[] = [1, 2, 3, 4, 5, 6]

/** Two device tables, of as many frames as the last requester needs. */
export const DEVICE_TABLES = [0x2004, 0x2008] as const
export const DEVICE_TABLE_PAGES = 3

/** Three edu devices of bus 0, the last of which needs the second frame of a device table, and one behind the root port. */
export const REQUESTERS: readonly number[] = [0x18, 0x20, 0xc0, 0x100]
/** Domain ids: two for each requester, so that what one caches is never the other's. */
export const domainsOf = (requester: number): readonly [number, number] => {
  const first = 1 + 2 * REQUESTERS.indexOf(requester)
  return [first, first + 1]
}
export const DOMAINS = 2 * REQUESTERS.length

/** The tables of a domain, by level: the first of each may be the top one. */
export interface DomainTables {
  readonly level: Readonly<Record<Level, readonly number[]>>
  /** What entry 0 of the first level-3 table leads to; entry 0 of the first level-2 table leads to the second of these. */
  readonly readback: readonly [level2: number, level1: number]
}

export function tablesOf(domain: number): DomainTables {
  const base = 0x2020 + 0x10 * (domain - 1)
  const frames = (first: number, count: number) => Array.from({ length: count }, (_, i) => base + first + i)
  return {
    level: { 6: frames(0, 1), 5: frames(1, 1), 4: frames(2, 2), 3: frames(4, 2), 2: frames(6, 3), 1: frames(9, 5) },
    readback: [base + 14, base + 15],
  }
}

/** Entries of a table of each level that random operations use; of level 6, those below the addresses that our unit does not cache. */
export const INDICES: Readonly<Record<Level, readonly number[]>> = {
  6: [0, 1, 7],
  5: [0, 1, 256],
  4: [0, 1, 2, 256],
  3: [0, 1, 2, 3, 256],
  2: [0, 1, 3, 0x41, 0x81, 0x103],
  1: [0, 1, 2, 7, 0x82, 0x100],
}

const ENTRY_1 = READBACK & 511
/** PR, IR and IW. */
const PRESENT = 1
const RIGHTS = 0x6000_0000

export interface FreshEntry {
  readonly frame: number
  readonly index: number
  readonly hi: number
  readonly lo: number
}

/** Each domain's ways to {@link READBACK} from a top table of any level: not touched by random stores. */
export const FRESH_TABLES: readonly FreshEntry[] = Array.from({ length: DOMAINS }, (_, i) => {
  const { level, readback } = tablesOf(i + 1)
  const entry = (frame: number, index: number, next: number, to: number) => ({
    frame,
    index,
    hi: RIGHTS,
    lo: (to * PAGE) | (next << 9) | PRESENT,
  })
  return [
    ...([6, 5, 4] as const).map((at) => entry(level[at][0]!, 0, at - 1, level[(at - 1) as Level][0]!)),
    entry(level[3][0]!, 0, 2, readback[0]),
    entry(readback[0], 0, 1, readback[1]),
    entry(level[2][0]!, 0, 1, readback[1]),
    ...[readback[1], level[1][0]!].map((frame) => entry(frame, ENTRY_1, 0, READBACK)),
  ]
}).flat()

/** Whether `count` entries from `index` on of the table in `frame` are, or include, one of {@link FRESH_TABLES}. */
export const isKept = (frame: number, index: number, count = 1): boolean =>
  FRESH_TABLES.some((kept) => kept.frame === frame && kept.index >= index && kept.index < index + count)
