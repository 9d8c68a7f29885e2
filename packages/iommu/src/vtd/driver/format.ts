/** Second-stage tables for {@link RadixFormat}: rights count at every level, so directories grant both; which leaves are large, the unit says. */
import type { RadixFormat } from '../../radix/format.ts'
import type { VtdCapabilities } from '../spec/capabilities.ts'
import { PageEntry } from '../spec/entries.ts'

export function secondStageFormat({ pages2M, pages1G }: VtdCapabilities): RadixFormat {
  return {
    present: PageEntry.rights,
    leafMask: PageEntry.large,
    leafValue: PageEntry.large,
    pageLow: 0,
    largeLow: PageEntry.large,
    leafHigh: 0,
    tableLow: [0, 1, 2, 3, 4, 5, 6].map(() => PageEntry.rights),
    tableHigh: 0,
    lowRights: PageEntry.rights,
    highRights: 0,
    highShift: 0,
    pages2M,
    pages1G,
  }
}
