/** P15: a DMA of 4 bytes through a VT-d unit with every check, beside what the RISC-V IOMMU's reference model takes for a request. */
import type { Benchmark } from './harness/benchmark.ts'
import { atMost, besideC } from './translation/beside-c.ts'

const HIT_NS = 4
const WALK_NS = 30

export const fullCheck: Benchmark = {
  id: 'P15',
  aliases: ['full'],
  title: 'translation with every check',
  goals: [
    atMost(`4-byte DMA read, hit, every check / ${HIT_NS} ns`, 'hit', String(HIT_NS), 1, 0.75),
    atMost(`4-byte DMA read, walk, every check / ${WALK_NS} ns`, 'walk', String(WALK_NS), 1, 0.67),
  ],
  start: async () => {
    const { unitHits } = await import('./translation/unit-hits.ts')
    const { unitWalks } = await import('./translation/unit-walks.ts')
    return besideC({
      hit: { run: unitHits, counts: 'arrivals', baseline: HIT_NS },
      walk: { run: unitWalks, counts: 'arrivals', baseline: WALK_NS },
    })
  },
}
