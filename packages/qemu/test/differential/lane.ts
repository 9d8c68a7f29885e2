/**
 * A differential run: the same random operations on QEMU's unit and on ours, step by step. What a device saw, what memory holds and, where
 * QEMU tells it, the fault record must be the same, but for QEMU's known deviations.
 */
import type { KnownDeviation } from './deviation.ts'
import { keep, minimise, type Kept } from './minimise.ts'

/** A sequence of operations on fresh units. It depends on its seed and number only, never on what a unit answered. */
export interface Episode<Operation> {
  readonly seed: number
  readonly number: number
  readonly operations: readonly Operation[]
}

/** A difference that nothing explains. */
export interface Failure {
  /** Index of the operation that showed it; −1 for memory compared at the end. */
  readonly index: number
  /** What differed, in words. */
  readonly text: string
}

/** What a run has met. */
export interface Coverage {
  readonly operations: number
  /** What a whole run must meet and this one has not, in words; empty when it is enough. */
  missing(): string[]
  describe(): string[]
}

/** One kind of unit, of QEMU's and of ours. */
export interface Lane<Operation> extends Disposable {
  /** For people: what unit, of what QEMU. */
  readonly title: string
  /** How the command line names it. */
  readonly options: string
  /** Operations of a whole run. */
  readonly wholeRun: number
  readonly deviations: readonly KnownDeviation[]
  /** How often each deviation explained a difference. */
  readonly explained: ReadonlyMap<string, number>
  readonly coverage: Coverage
  generate(seed: number, number: number): Episode<Operation>
  /** Runs `episode` from a fresh state. Null when every difference is explained. */
  run(episode: Episode<Operation>): Failure | null
  describe(operation: Operation): string
}

export interface Plan {
  readonly seed: number
  /** By default a whole run's. A shorter run need not meet anything. */
  readonly operations?: number
  /** Arguments that the command line had besides, for the replay. */
  readonly also?: string
}

export interface Report {
  /** The smallest failing sequence, what it showed, and the command that runs it again. */
  readonly failure: { readonly failure: Failure; readonly kept: Kept; readonly replay: string } | null
  /** Why the run is no good, in words; empty when it is. */
  readonly problems: readonly string[]
}

/** Episodes until enough operations are done or one fails. */
export function runLane<Operation>(
  lane: Lane<Operation>,
  { seed, operations = lane.wholeRun, also = '' }: Plan,
): Report {
  for (let number = 0; lane.coverage.operations < operations; number++) {
    const episode = lane.generate(seed, number)
    if (lane.run(episode) === null) continue
    const kept = smallest(lane, episode)
    const failure = lane.run(keep(episode, kept))
    if (failure === null) throw new Error(`episode ${number} of seed ${seed} failed once and not again`)
    const where = `--seed ${seed} --episode ${number} --keep ${kept.join(',')}`
    const replay = `pnpm --filter @iospace/qemu differential ${lane.options} ${where}${also}`
    return { failure: { failure, kept, replay }, problems: [`unexplained difference: ${replay}`] }
  }
  return { failure: null, problems: operations < lane.wholeRun ? [] : [...lane.coverage.missing(), ...unmet(lane)] }
}

function smallest<Operation>(lane: Lane<Operation>, episode: Episode<Operation>): Kept {
  return minimise(
    episode.operations.map((_, i) => i),
    (kept) => lane.run(keep(episode, kept))?.index ?? null,
  )
}

// One that no longer occurs is one that QEMU no longer has.
function unmet<Operation>({ deviations, explained }: Lane<Operation>): string[] {
  return deviations.filter(({ id }) => !explained.has(id)).map(({ id }) => `known deviation that does not occur: ${id}`)
}

/** All of a report but the replay's operations, for people. */
export function describeReport<Operation>(lane: Lane<Operation>, { failure, problems }: Report): string {
  const known = [...lane.explained].toSorted(([a], [b]) => a.localeCompare(b)).map(([id, count]) => `${id} ${count}`)
  const lines = [...lane.coverage.describe(), `known deviations: ${known.join(', ')}`, ...problems]
  if (failure !== null) lines.push(failure.failure.text)
  return lines.join('\n')
}
