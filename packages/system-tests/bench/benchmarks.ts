/** Every benchmark, in the order of the table of goals. */
import type { Benchmark } from './harness/benchmark.ts'
import { iotlbHit } from './p1-iotlb-hit.ts'
import { shortDma } from './p2-short-dma.ts'
import { walk } from './p3-walk.ts'
import { flatTables } from './p4-flat-tables.ts'
import { bulk } from './p5-copies.ts'
import { hypercall } from './p6-hypercall.ts'
import { packet } from './p8-packet.ts'
import { growth } from './growth.ts'
import { garbage } from './p14-garbage.ts'
import { fullCheck } from './p15-full-check.ts'
import { storage, storageHashed } from './p18-storage.ts'

export const BENCHMARKS: readonly Benchmark[] = [
  iotlbHit,
  shortDma,
  walk,
  flatTables,
  bulk,
  hypercall,
  packet,
  garbage,
  fullCheck,
  storage,
  storageHashed,
  growth,
]

/** The benchmark of an id or alias, in any case. */
export function find(word: string): Benchmark | undefined {
  const wanted = word.toLowerCase()
  return BENCHMARKS.find(({ id, aliases }) => id.toLowerCase() === wanted || aliases.includes(wanted))
}
