/** A whole differential run: episodes until enough operations are done or one fails, and what is to be said of it. */
import { FULL_RUN, type Coverage, type Thresholds } from './coverage.ts'
import type { Deviation } from './deviations.ts'
import { generateEpisode } from './generate.ts'
import { keep, minimise, type Kept } from './minimise.ts'
import type { Episode } from './operation.ts'
import type { DifferentialRun, Failure } from './run.ts'

export interface Plan {
  readonly addressBits: 39 | 48
  readonly seed: number
  readonly operations: number
  /** The known deviations: each must occur in a run that must meet anything. */
  readonly deviations: readonly Deviation[]
  /** What the run must meet; null for a short one. */
  readonly least?: Thresholds | null
}

export interface Report {
  readonly coverage: Coverage
  readonly explained: ReadonlyMap<string, number>
  /** The smallest failing sequence, and how to run it again. */
  readonly failure: { readonly failure: Failure; readonly kept: Kept; readonly replay: string } | null
  /** Why the run is no good, in words; empty when it is. */
  readonly problems: readonly string[]
}

export function runDifferential(run: DifferentialRun, plan: Plan): Report {
  const { addressBits, seed, operations, least = FULL_RUN } = plan
  const { coverage, explained } = run
  for (let number = 0; coverage.operations < operations; number++) {
    const episode = generateEpisode(seed, number, addressBits)
    const failure = run.run(episode)
    if (failure === null) continue
    const kept = smallest(run, episode, failure.index)
    const replay = `pnpm differential --bits ${addressBits} --seed ${seed} --episode ${number} --keep ${kept.join(',')}`
    return { coverage, explained, failure: { failure, kept, replay }, problems: [`unexplained difference: ${replay}`] }
  }
  const problems =
    least === null ? [] : [...coverage.missing(least, addressBits === 39 ? [3] : [3, 4]), ...unmet(plan, explained)]
  return { coverage, explained, failure: null, problems }
}

function smallest(run: DifferentialRun, episode: Episode, index: number): Kept {
  const last = index < 0 ? episode.operations.length : index + 1
  return minimise(
    Array.from({ length: last }, (_, i) => i),
    (kept) => run.run(keep(episode, kept)) !== null,
  )
}

function unmet({ deviations }: Plan, explained: ReadonlyMap<string, number>): string[] {
  return deviations.filter(({ id }) => !explained.has(id)).map(({ id }) => `known deviation that does not occur: ${id}`)
}
