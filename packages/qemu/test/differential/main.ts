/**
 * `pnpm differential`: the same random operations on QEMU's VT-d unit and on ours.
 *
 *   --bits 39|48        address bits of the units (48)
 *   --seed N            where the random numbers begin (1)
 *   --operations N      how many operations (26000)
 *   --episode N --keep LIST   one episode, of it only the operations at these places: how a failure is replayed
 */
import { parseArgs } from 'node:util'
import { findQemu } from '../../src/index.ts'
import { deviationsOf } from './deviations.ts'
import { FULL_RUN, RUN_OPERATIONS } from './coverage.ts'
import { generateEpisode } from './generate.ts'
import { keep } from './minimise.ts'
import { describeDifference, describeOperation, describeReport } from './print.ts'
import { runDifferential } from './report.ts'
import { DifferentialRun } from './run.ts'

const { values } = parseArgs({
  options: {
    bits: { type: 'string', default: '48' },
    seed: { type: 'string', default: '1' },
    operations: { type: 'string', default: String(RUN_OPERATIONS) },
    episode: { type: 'string' },
    keep: { type: 'string' },
  },
})
const addressBits = values.bits === '39' ? 39 : 48
const seed = Number(values.seed)

const found = findQemu()
if (!found.ok) {
  console.error(found.reason)
  process.exitCode = 2
} else {
  const deviations = deviationsOf(found.version)
  using run = new DifferentialRun(addressBits, deviations)
  if (values.episode === undefined) {
    const plan = { addressBits, seed, deviations } as const
    const operations = Number(values.operations)
    const least = operations < FULL_RUN.operations ? null : FULL_RUN
    const report = runDifferential(run, { ...plan, operations, least })
    console.log(`VT-d, ${addressBits} bits, QEMU ${found.version.join('.')}, seed ${seed}\n${describeReport(report)}`)
    process.exitCode = report.problems.length === 0 ? 0 : 1
  } else {
    const whole = generateEpisode(seed, Number(values.episode), addressBits)
    const episode = values.keep === undefined ? whole : keep(whole, values.keep.split(',').map(Number))
    if (values.keep !== undefined) for (const operation of episode.operations) console.log(describeOperation(operation))
    const failure = run.run(episode)
    console.log(
      failure === null
        ? 'no unexplained difference'
        : failure.difference === null
          ? 'memory differs at the end'
          : describeDifference(failure.difference),
    )
    process.exitCode = failure === null ? 0 : 1
  }
}
