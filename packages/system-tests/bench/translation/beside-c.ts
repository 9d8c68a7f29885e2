/**
 * Sessions that measure translations beside `c/translate.c`, which has no device to look up, no reserved bits to check and no fault to
 * log. Each benchmark has a process of its own, and what it measures are constants of a module: one machine with one unit.
 */
import type { Goal, Session } from '../harness/benchmark.ts'
import { CProgram } from '../harness/c-program.ts'
import { sample } from '../harness/samples.ts'
import { OPS } from './translation-bed.ts'

export interface Measured {
  /** Performs {@link OPS} operations. Returns what their machine addresses add up to, as the C program does, or how many DMAs arrived. */
  readonly run: () => number
  readonly counts: 'addresses' | 'arrivals'
  /** An operation of the C program, or a time in ns. */
  readonly baseline: string | number
}

/** Measures by name, and each baseline by its own. */
export function besideC(measured: Readonly<Record<string, Measured>>): Session {
  const c = CProgram.compile('translate')
  for (const [name, { run, counts, baseline }] of Object.entries(measured)) {
    const sum = run() >>> 0
    const wanted = counts === 'arrivals' ? OPS : typeof c === 'string' ? sum : c.run(String(baseline))[baseline]!.sum
    if (sum !== wanted) throw new Error(`${name}: it must be ${wanted}, and is ${sum}`)
  }
  const missing: Record<string, string> = {}
  if (typeof c === 'string')
    for (const { baseline } of Object.values(measured)) if (typeof baseline === 'string') missing[baseline] = c
  return {
    missing,
    round: async () => {
      const result: Record<string, number> = {}
      for (const [name, { run, baseline }] of Object.entries(measured)) {
        if (typeof baseline === 'number') result[baseline] = baseline
        else if (typeof c !== 'string') result[baseline] = c.run(baseline)[baseline]!.ns
        result[name] = sample(run, OPS)
      }
      return result
    },
    end: () => typeof c !== 'string' && c.remove(),
  }
}

export function atMost(name: string, subject: string, baseline: string, must: number, stretch: number): Goal {
  return { name, subject, baseline, sense: 'at most', must, stretch }
}
