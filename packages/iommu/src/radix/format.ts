/** An entry format of radix tables, as data. `access` bits are 1 read, 2 write ({@link Access}). */
export interface RadixFormat {
  /** Low half: an entry is present when one of these bits is set. */
  readonly present: number
  /** Low half: a present entry above level 1 is a leaf when its bits of `leafMask` are `leafValue`. */
  readonly leafMask: number
  readonly leafValue: number
  /** Bits of every leaf besides address and rights: low half at level 1, low half above, high half. */
  readonly pageLow: number
  readonly largeLow: number
  readonly leafHigh: number
  /** Bits of an entry that leads to a table, besides its address: low half by the level of that table, high half. */
  readonly tableLow: readonly number[]
  readonly tableHigh: number
  /** Rights: `access & lowRights` in the low half, `(access & highRights) << highShift` in the high half. */
  readonly lowRights: number
  readonly highRights: number
  readonly highShift: number
  /** Leaves at level 2 and 3. */
  readonly pages2M: boolean
  readonly pages1G: boolean
}

/** Index (0…511; at level 6 0…127) of the I/O address (`hi`:`lo`) in a table of `level`; level 1 is the leaf table. */
export function tableIndex(level: number, hi: number, lo: number): number {
  switch (level) {
    case 1:
      return (lo >>> 12) & 511
    case 2:
      return (lo >>> 21) & 511
    case 3:
      return ((hi << 2) | (lo >>> 30)) & 511
    case 4:
      return (hi >>> 7) & 511
    case 5:
      return (hi >>> 16) & 511
    default:
      return hi >>> 25
  }
}

/** 4 KiB pages that one entry of `level` spans. */
export const pagesPerEntry = (level: number): number => 512 ** (level - 1)
