/** P15: DMA reads of 4 bytes through a unit that walks for every request. */
import { OPS, REQUESTER, TranslationBed } from './translation-bed.ts'
import { UNCACHED } from './units.ts'

const bed = new TranslationBed()
const unit = bed.unit(UNCACHED)
const { buffer } = bed
const { high, low } = bed.hot
const COUNT = OPS
const DEVICE = REQUESTER

/** Reads 4 bytes at every address; how many reads were translated. */
export function unitWalks(): number {
  let done = 0
  for (let i = 0; i < COUNT; i++) if (unit.dmaRead(DEVICE, high[i]!, low[i]!, buffer, 4) > 0) done++
  return done
}
