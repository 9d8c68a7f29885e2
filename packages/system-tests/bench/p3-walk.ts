/** P3: walks of 4 levels, over tables that the CPU's caches hold and over such that they do not. */
import type { Benchmark } from './harness/benchmark.ts'
import { atMost, besideC } from './translation/beside-c.ts'

export const walk: Benchmark = {
  id: 'P3',
  aliases: ['walk'],
  title: 'walk of tables',
  goals: [
    atMost('walk of 4 levels, hot / C', 'hot', 'walk4_hot', 2.3, 2),
    atMost('walk of 4 levels, memory-bound / C', 'sparse', 'walk4_sparse', 1.9, 1.5),
  ],
  start: async () => {
    const { hotWalks, sparseWalks } = await import('./translation/table-walks.ts')
    return besideC({
      hot: { run: hotWalks, counts: 'addresses', baseline: 'walk4_hot' },
      sparse: { run: sparseWalks, counts: 'addresses', baseline: 'walk4_sparse' },
    })
  },
}
