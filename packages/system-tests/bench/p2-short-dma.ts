/** P2: a DMA of 64 bytes through a VT-d unit that has the translation. */
import type { Benchmark } from './harness/benchmark.ts'
import { atMost, besideC } from './translation/beside-c.ts'

export const shortDma: Benchmark = {
  id: 'P2',
  aliases: ['dma'],
  title: 'short DMA',
  goals: [atMost('64-byte DMA write through an IOTLB hit / C', 'write', 'tlb_hit_copy64', 2.7, 2.2)],
  start: async () => {
    const { unitWrites } = await import('./translation/unit-writes.ts')
    return besideC({ write: { run: unitWrites, counts: 'arrivals', baseline: 'tlb_hit_copy64' } })
  },
}
