/** Runs one benchmark: interleaved rounds, then the median of each measure and of each ratio. */
import type { Benchmark, Goal, Result } from './benchmark.ts'
import { median } from './samples.ts'

/** Measures `benchmark` in `rounds` rounds (at least 3). */
export async function measure(benchmark: Benchmark, rounds: number): Promise<Result[]> {
  const { id, goals, start } = benchmark
  if (start === null) return goals.map(({ name }) => ({ id, name, reason: 'what it measures is not there yet' }))
  const session = await start()
  try {
    const seen: Readonly<Record<string, number>>[] = []
    for (let i = 0; i < rounds; i++) seen.push(await session.round())
    return goals.map((goal) => {
      const reason = session.missing[goal.subject] ?? session.missing[goal.baseline]
      return reason === undefined ? row(id, goal, seen) : { id, name: goal.name, reason }
    })
  } finally {
    session.end()
  }
}

function row(
  id: string,
  { name, subject, baseline, sense, must, stretch }: Goal,
  rounds: readonly Readonly<Record<string, number>>[],
): Result {
  // The ratio of each round is of two measures made right after one another; noise hits both.
  const ratio = median(
    rounds.map((round) =>
      sense === 'at most' ? round[subject]! / round[baseline]! : round[baseline]! / round[subject]!,
    ),
  )
  return {
    id,
    name,
    ns: median(rounds.map((round) => round[subject]!)),
    baselineNs: median(rounds.map((round) => round[baseline]!)),
    ratio,
    goal: must,
    stretch,
    pass: must === null || (sense === 'at most' ? ratio <= must : ratio >= must),
  }
}
