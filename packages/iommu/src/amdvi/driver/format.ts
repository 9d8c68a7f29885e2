/** Version-1 page tables for {@link RadixFormat}: rights lie in the leaf, directories grant all; leaves force coherent DMA, as Xen sets them. */
import type { RadixFormat } from '../../radix/format.ts'
import { NextLevel, PageEntry, Rights } from '../spec/entries.ts'

const leaf = PageEntry.present | (NextLevel.leaf << PageEntry.nextShift)

export const amdviFormat: RadixFormat = {
  present: PageEntry.present,
  leafMask: PageEntry.nextMask << PageEntry.nextShift,
  leafValue: NextLevel.leaf,
  pageLow: leaf,
  largeLow: leaf,
  leafHigh: PageEntry.forceCoherent,
  tableLow: [0, 1, 2, 3, 4, 5, 6].map((level) => PageEntry.present | (level << PageEntry.nextShift)),
  tableHigh: Rights.both << PageEntry.rightsShift,
  lowRights: 0,
  highRights: Rights.both,
  highShift: PageEntry.rightsShift,
  pages2M: true,
  pages1G: true,
}
