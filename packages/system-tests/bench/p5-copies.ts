/** P5: bulk copies as DMA and bounce buffers make them, in caches, beside memcpy (`c/copy.c`). */
import { MachineMemory } from '@iospace/machine'
import type { Benchmark, Session } from './harness/benchmark.ts'
import { CProgram } from './harness/c-program.ts'
import { sample } from './harness/samples.ts'

/** Copies of one sample, as in the C program, and the memory that it moves inside. */
const COPIES = 512
const BYTES = 64 << 20
const SIZES = [64, 1500, 4096, 65536] as const

const memory = new MachineMemory({ lowFrames: BYTES / 4096, highFrames: 1, boardBytes: 0 })

/** The ring of `c/copy.c`: 32 KiB each side, 128 KiB for large pieces. */
function copies(length: number): void {
  const span = (length + 63) & ~63
  const end = Math.floor((length > 4096 ? 131072 : 32768) / span) * span
  let from = 0
  let to = BYTES / 2
  for (let i = 0; i < COPIES; i++) {
    memory.move(to, from, length)
    from += span
    to += span
    if (from >= end) {
      from = 0
      to = BYTES / 2
    }
  }
}

async function start(): Promise<Session> {
  memory.fill(0, 1, BYTES)
  const c = CProgram.compile('copy')
  return {
    missing: typeof c === 'string' ? Object.fromEntries(SIZES.map((size) => [`copy_hot_${size}`, c])) : {},
    round: async () => {
      const result: Record<string, number> = {}
      for (const size of SIZES) {
        const name = `copy_hot_${size}`
        if (typeof c !== 'string') result[name] = c.run(name)[name]!.ns
        result[`ours ${size}`] = sample(() => copies(size), COPIES)
      }
      return result
    },
    end: () => typeof c !== 'string' && c.remove(),
  }
}

export const bulk: Benchmark = {
  id: 'P5',
  aliases: ['copy'],
  title: 'bulk DMA and bounce copies',
  goals: SIZES.map((size) => ({
    name: `copy of ${size} bytes / memcpy`,
    subject: `ours ${size}`,
    baseline: `copy_hot_${size}`,
    sense: 'at most' as const,
    must: size === 64 ? 3 : 1.15,
    stretch: size === 64 ? 2 : 1.05,
  })),
  start,
}
