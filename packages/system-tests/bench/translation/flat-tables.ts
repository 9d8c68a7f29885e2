/** P4: look-ups in a Calgary's table of big-endian entries and in a GART's, both over the pages of the C program. */
import { calgaryPersonalities } from '@iospace/iommu/hardware'
import { CalgaryWalk, GartWalk, MachineTables } from '@iospace/iommu/walk'
import { OPS, TranslationBed } from './translation-bed.ts'

const WRITE = 2
/** Where the tables of the C program lie: frames. */
const TCE_TABLE = 160 << 8
const GART_TABLE = 161 << 8
/** Size code of 65536 entries, of which the first 256 are behind the window that a Calgary lets pass; an aperture of 128 MiB at 0xD0000000. */
const CODE = 3
const FIRST = 256
const APERTURE_PAGE = 0xd_0000
const F3X90 = (2 << 1) | 1
const F3X94 = 0xd000_0000 / 2 ** 25

const bed = new TranslationBed()
fill()
const tables = new MachineTables(bed.machine.memory)
const calgary = new CalgaryWalk(tables, calgaryPersonalities.calgary)
const gart = new GartWalk(tables)
const { high: tceHigh, low: tceLow } = bed.flat(FIRST)
const { high: gartHigh, low: gartLow } = bed.flat(APERTURE_PAGE)
// A constant of another module is a load and a test in every turn.
const COUNT = OPS

function fill(): void {
  const { words, view } = bed.machine.memory
  for (const [i, frame] of bed.frames.entries()) {
    view.setUint32(TCE_TABLE * 4096 + (FIRST + i) * 8 + 4, (frame << 12) | 3)
    words[GART_TABLE * 1024 + i] = (frame << 12) | 1
  }
}

/** Looks every address up in the Calgary's table, as it does on a miss of its cache; the sum of the machine addresses. */
export function tceLookUps(): number {
  let sum = 0
  for (let i = 0; i < COUNT; i++) {
    const lo = tceLow[i]!
    sum = (sum + ((calgary.entry(0, (TCE_TABLE << 12) | CODE, tceHigh[i]!, lo, WRITE) << 12) | (lo & 0xfff))) | 0
  }
  return sum
}

/** The same in the GART's. */
export function gartLookUps(): number {
  let sum = 0
  for (let i = 0; i < COUNT; i++) {
    const lo = gartLow[i]!
    sum = (sum + ((gart.request(F3X90, F3X94, GART_TABLE << 4, gartHigh[i]!, lo) << 12) | (lo & 0xfff))) | 0
  }
  return sum
}
