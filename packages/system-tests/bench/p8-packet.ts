/**
 * P8: the whole strict path of a 1500-byte packet, real packages wired: DMA API, hypercall bytes, I/O space, VT-d tables, device DMA,
 * unmap, queued invalidation, release; counters, clock and fault log on. Beside `c/packet.c` and `c/packet-steps.c` at batches of 1, 16, 256.
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

/** The same beside a C program of the very same steps and data structures. */
const stepsGoal = (batch: number) => ({
  name: `the same, batch ${batch} / C of the same steps`,
  subject: `packet${batch}`,
  baseline: `packet_steps_b${batch}`,
  sense: 'at most' as const,
  must: 2,
  stretch: null,
})

const BATCHES = [1, 16, 256]
/** Packets of one run. */
const PACKETS = 512

async function start(): Promise<Session> {
  const path = new PacketPath()
  path.check()
  const c = CProgram.compile('packet')
  const steps = CProgram.compile('packet-steps')
  const missing = {
    ...(typeof c === 'string' ? Object.fromEntries(BATCHES.map((batch) => [`packet1500_b${batch}`, c])) : {}),
    ...(typeof steps === 'string' ? Object.fromEntries(BATCHES.map((batch) => [`packet_steps_b${batch}`, steps])) : {}),
  }
  return {
    missing,
    round: async () => {
      const result: Record<string, number> = {}
      // What is compared is measured right after one another.
      for (const batch of BATCHES) {
        const name = `packet1500_b${batch}`
        const same = `packet_steps_b${batch}`
        if (typeof c !== 'string') result[name] = c.run(name)[name]!.ns
        if (typeof steps !== 'string') result[same] = steps.run(same)[same]!.ns
        result[`packet${batch}`] = sample(() => path.receive(PACKETS, batch), PACKETS)
      }
      return result
    },
    end: () => {
      for (const program of [c, steps]) if (typeof program !== 'string') program.remove()
    },
  }
}

export const packet: Benchmark = {
  id: 'P8',
  aliases: ['packet'],
  title: 'whole strict path of a 1500-byte packet',
  goals: [goal(256, 1.9, 1.6), goal(16, 2.5, 2), goal(1, 4, 3), ...BATCHES.toReversed().map(stepsGoal)],
  start,
}
