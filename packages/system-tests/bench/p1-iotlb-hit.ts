/** P1: a look-up in the IOTLB that finds its page, with domain and permission. */
import type { Benchmark } from './harness/benchmark.ts'
import { atMost, besideC } from './translation/beside-c.ts'

export const iotlbHit: Benchmark = {
  id: 'P1',
  aliases: ['iotlb'],
  title: 'hit in the IOTLB',
  goals: [atMost('IOTLB hit / C', 'hit', 'tlb_hit', 1.75, 1.5)],
  start: async () => {
    const { tlbHits } = await import('./translation/tlb-hits.ts')
    return besideC({ hit: { run: tlbHits, counts: 'addresses', baseline: 'tlb_hit' } })
  },
}
