/** P1: look-ups in a cache of translations with the shape of the C program's, all hits. */
import { TranslationBank } from '@iospace/iommu/hardware'
import { MachineTables, VtdWalk } from '@iospace/iommu/walk'
import { DOMAIN, OPS, TranslationBed } from './translation-bed.ts'
import { DIRECT } from './units.ts'

const WRITE = 2
const BOTH = 3
const bed = new TranslationBed()
const bank = filled(new TranslationBank(DIRECT.iotlb))
const { high, low } = bed.hot
// A constant of another module is a load and a test in every turn.
const COUNT = OPS
const ID = DOMAIN

function filled(empty: TranslationBank): TranslationBank {
  const walk = new VtdWalk(new MachineTables(bed.machine.memory), DIRECT.capabilities, DIRECT.hostAddressBits)
  const { hot, top } = bed
  for (let i = 0; i < OPS; i++) {
    const hi = hot.high[i]!
    const lo = hot.low[i]!
    empty.insert(DOMAIN, (hi << 20) | (lo >>> 12), hi >>> 12, BOTH, walk.page(top, 4, hi, lo, WRITE))
  }
  return empty
}

/** Looks every address up; the sum of the machine addresses. */
export function tlbHits(): number {
  let sum = 0
  for (let i = 0; i < COUNT; i++) {
    const hi = high[i]!
    const lo = low[i]!
    sum = (sum + ((bank.find(ID, (hi << 20) | (lo >>> 12), hi >>> 12, WRITE) << 12) | (lo & 0xfff))) | 0
  }
  return sum
}
