/**
 * P8: the whole strict path of a 1500-byte packet, real packages wired: DMA API, hypercall bytes, I/O space, VT-d tables, device DMA,
 * unmap, queued invalidation, release; counters, clock and fault log on. Beside `c/packet.c` at batches of 1, 16 and 256, and beside a C
 * program that does the very same steps (`c/packet-steps.c`, to be written with it).
 *
 * To do: `start`. The driver maps `batch` buffers of a ring (FROM_DEVICE), a PCI function of this file writes 1500 bytes into each
 * through `dmaWrite`, the driver unmaps them; one hypercall per batch on either side.
 */
import type { Benchmark } from './harness/benchmark.ts'

const goal = (batch: number, must: number, stretch: number) => ({
  name: `strict path of a packet, batch ${batch} / C`,
  subject: `packet${batch}`,
  baseline: `packet1500_b${batch}`,
  sense: 'at most' as const,
  must,
  stretch,
})

const sameSteps = (batch: number) => ({
  name: `strict path of a packet, batch ${batch} / C, same steps`,
  subject: `packet${batch}`,
  baseline: `packet_steps_b${batch}`,
  sense: 'at most' as const,
  must: 2,
  stretch: null,
})

export const packet: Benchmark = {
  id: 'P8',
  aliases: ['packet'],
  title: 'whole strict path of a 1500-byte packet',
  goals: [goal(256, 1.9, 1.6), goal(16, 2.5, 2), goal(1, 4, 3), sameSteps(256), sameSteps(16), sameSteps(1)],
  start: null,
}
