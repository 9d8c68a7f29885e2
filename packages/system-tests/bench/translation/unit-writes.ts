/** P2: DMA writes through a unit that finds every address in its IOTLB. */
import { OPS, REQUESTER, TranslationBed } from './translation-bed.ts'
import { DIRECT } from './units.ts'

const bed = new TranslationBed()
const unit = bed.unit(DIRECT)
const { buffer } = bed
const { high, low } = bed.hot
const COUNT = OPS
const DEVICE = REQUESTER

/** Writes 64 bytes to every address; how many writes were translated. */
export function unitWrites(): number {
  let done = 0
  for (let i = 0; i < COUNT; i++) if (unit.dmaWrite(DEVICE, high[i]!, low[i]!, buffer, 64) > 0) done++
  return done
}
