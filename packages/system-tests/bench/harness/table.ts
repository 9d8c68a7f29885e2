/** The table that `pnpm bench` prints. */
import type { Benchmark, Result } from './benchmark.ts'

const HEAD = ['id', 'operation', 'ours', 'baseline', 'ratio', 'goal', 'verdict'] as const

export function table(benchmarks: readonly Benchmark[], results: readonly Result[]): string {
  const goals = new Map(benchmarks.flatMap(({ goals: list }) => list.map((goal) => [goal.name, goal] as const)))
  const rows = results.map((result) => {
    if ('reason' in result) return [result.id, result.name, '', '', '', '', `skipped: ${result.reason}`]
    const { id, name, ns, baselineNs, ratio, goal, stretch, pass } = result
    const show = benchmarks.find((benchmark) => benchmark.id === id)?.unit === 'bytes' ? size : time
    const cells = [id, name, show(ns), show(baselineNs), `${digits(ratio)}×`]
    if (goal === null) return [...cells, '', 'reported']
    const speed = goals.get(name)?.sense === 'at least'
    const reached = stretch !== null && (speed ? ratio >= stretch : ratio <= stretch)
    return [...cells, `${speed ? '≥' : '≤'} ${goal}×`, !pass ? 'MISSED' : reached ? 'met, stretch too' : 'met']
  })
  const lines = [[...HEAD], ...rows]
  const widths = HEAD.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)))
  const numeric = (i: number) => i >= 2 && i <= 5
  return lines
    .map((line) =>
      line
        .map((cell, i) => (numeric(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const digits = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

const size = (bytes: number): string => `${Math.round(bytes)} B`

function time(ns: number): string {
  if (ns < 1e3) return `${digits(ns)} ns`
  if (ns < 1e6) return `${digits(ns / 1e3)} µs`
  return ns < 1e9 ? `${digits(ns / 1e6)} ms` : `${digits(ns / 1e9)} s`
}
