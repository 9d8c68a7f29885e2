/**
 * P8: the whole strict path of a 1500-byte packet, real packages wired: DMA API, hypercall bytes, I/O space, VT-d tables, device DMA,
 * unmap, queued invalidation, release; counters, clock and fault log on. Beside `c/packet.c` at batches of 1, 16 and 256.
 */
import type { Benchmark, Session } from './harness/benchmark.ts'
import { CProgram } from './harness/c-program.ts'
import { sample } from './harness/samples.ts'
import { PacketPath } from './packet/packet-path.ts'

const goal = (batch: number, must: number, stretch: number) => ({
  name: `strict path of a packet, batch ${batch} / C`,
  subject: `packet${batch}`,
  baseline: `packet1500_b${batch}`,
  sense: 'at most' as const,
  must,
  stretch,
})

const BATCHES = [1, 16, 256]
/** Packets of one sample: as many as one of the C program's. */
const PACKETS = 4096

async function start(): Promise<Session> {
  const path = new PacketPath()
  path.check()
  const c = CProgram.compile('packet')
  const missing = typeof c === 'string' ? Object.fromEntries(BATCHES.map((batch) => [`packet1500_b${batch}`, c])) : {}
  return {
    missing,
    round: async () => {
      const result: Record<string, number> = {}
      // What is compared is measured right after one another.
      for (const batch of BATCHES) {
        const name = `packet1500_b${batch}`
        if (typeof c !== 'string') result[name] = c.run(name)[name]!.med
        result[`packet${batch}`] = sample(() => path.receive(PACKETS, batch), PACKETS)
      }
      return result
    },
    end: () => typeof c !== 'string' && c.remove(),
  }
}

export const packet: Benchmark = {
  id: 'P8',
  aliases: ['packet'],
  title: 'whole strict path of a 1500-byte packet',
  goals: [goal(256, 1.9, 1.6), goal(16, 2.5, 2), goal(1, 4, 3)],
  start,
}
