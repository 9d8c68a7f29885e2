/** P4: one look-up in a Calgary's table of big-endian entries and in a GART's. */
import type { Benchmark } from './harness/benchmark.ts'
import { atMost, besideC } from './translation/beside-c.ts'

export const flatTables: Benchmark = {
  id: 'P4',
  aliases: ['tce', 'gart'],
  title: 'look-ups in tables of one level',
  goals: [
    atMost('TCE look-up / C', 'calgary', 'tce', 2.9, 2.3),
    atMost('GART look-up / C', 'northbridge', 'gart', 2.9, 2.3),
  ],
  start: async () => {
    const { tceLookUps, gartLookUps } = await import('./translation/flat-tables.ts')
    return besideC({
      calgary: { run: tceLookUps, counts: 'addresses', baseline: 'tce' },
      northbridge: { run: gartLookUps, counts: 'addresses', baseline: 'gart' },
    })
  },
}
