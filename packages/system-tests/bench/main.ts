/**
 * `pnpm bench [P6 P8 P14 storage …] [--rounds N] [--json FILE]`: measures, and prints a table with goal, value, ratio and verdict. Each
 * benchmark runs in a process of its own, so that none is compiled for the types of another. The exit status says only whether the
 * measuring worked: speed is no test.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { INLINING_BUDGET } from 'iospace'
import { BENCHMARKS, find } from './benchmarks.ts'
import type { Benchmark, Result } from './harness/benchmark.ts'
import { measure } from './harness/measure.ts'
import { table } from './harness/table.ts'

const ROUNDS = 5
const USAGE = `usage: pnpm bench [${BENCHMARKS.map(({ id, aliases }) => [id, ...aliases].join('|')).join(' ')}] [--rounds N] [--json FILE]`

function usageError(problem: string): never {
  console.error(`${problem}\n${USAGE}`)
  process.exit(2)
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      // `measure` is how this program starts itself for one benchmark.
      options: {
        json: { type: 'string' },
        rounds: { type: 'string' },
        measure: { type: 'string' },
        help: { type: 'boolean' },
      },
    })
  } catch (error) {
    return usageError((error as Error).message)
  }
}

/** Registers the hook of `harness/strip-types.ts`. */
const STRIP_TYPES = `data:text/javascript,import{register}from'node:module';register('${new URL('harness/strip-types.ts', import.meta.url).href}')`

/** Runs `benchmark` in a new process; what it measured. */
function inChild({ id }: Benchmark, rounds: number): Result[] {
  const self = fileURLToPath(import.meta.url)
  const flags = [
    '--expose-gc',
    '--disable-warning=ExperimentalWarning',
    INLINING_BUDGET,
    `--import=${STRIP_TYPES}`,
    '--conditions=@iospace/source',
    self,
    '--measure',
    id,
    '--rounds',
    String(rounds),
  ]
  const { status, stdout } = spawnSync(process.execPath, flags, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${id} did not come to its end`)
  return JSON.parse(stdout.slice(stdout.lastIndexOf('\n[') + 1)) as Result[]
}

const { values, positionals } = parse()
const rounds = values.rounds === undefined ? ROUNDS : Number(values.rounds)
if (values.help === true) {
  console.log(USAGE)
} else if (!Number.isInteger(rounds) || rounds < 3) {
  usageError(`--rounds ${values.rounds} is not a number of at least 3.`)
} else if (values.measure !== undefined) {
  console.log(`\n${JSON.stringify(await measure(find(values.measure)!, rounds))}`)
} else {
  const chosen = positionals.map((word) => find(word) ?? usageError(`There is no benchmark ${word}.`))
  const load = loadavg()[0]!
  if (load > availableParallelism() / 2)
    console.error(`The machine is busy (load ${load.toFixed(1)}): ratios will be worse than on a quiet one.`)
  const results: Result[] = []
  for (const benchmark of chosen.length > 0 ? chosen : BENCHMARKS) {
    if (process.stderr.isTTY) process.stderr.write(`${benchmark.id}: ${benchmark.title} …\n`)
    results.push(...inChild(benchmark, rounds))
  }
  console.log(table(BENCHMARKS, results))
  if (values.json !== undefined) {
    const rows = results.filter((result) => !('reason' in result))
    writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`)
  }
}
