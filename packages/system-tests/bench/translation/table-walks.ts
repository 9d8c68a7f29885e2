/** P3: walks of 4 levels. */
import { MachineTables, VtdWalk } from '@iospace/iommu/walk'
import { OPS, TranslationBed } from './translation-bed.ts'
import { DIRECT } from './units.ts'

const WRITE = 2
const bed = new TranslationBed()
const walk = new VtdWalk(new MachineTables(bed.machine.memory), DIRECT.capabilities, DIRECT.hostAddressBits)
const { top, hot, sparse } = bed
const { high: hotHigh, low: hotLow } = hot
const { high: sparseHigh, low: sparseLow } = sparse
const COUNT = OPS

/** Walks to every address of 256 pages; the sum of the machine addresses. */
export function hotWalks(): number {
  let sum = 0
  for (let i = 0; i < COUNT; i++) {
    const lo = hotLow[i]!
    sum = (sum + ((walk.page(top, 4, hotHigh[i]!, lo, WRITE) << 12) | (lo & 0xfff))) | 0
  }
  return sum
}

/** Walks to every address of 12288 pages with a leaf table each. */
export function sparseWalks(): number {
  let sum = 0
  for (let i = 0; i < COUNT; i++) {
    const lo = sparseLow[i]!
    sum = (sum + ((walk.page(top, 4, sparseHigh[i]!, lo, WRITE) << 12) | (lo & 0xfff))) | 0
  }
  return sum
}
