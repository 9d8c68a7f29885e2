/**
 * `pnpm --filter @iospace/qemu differential`: the same random operations on QEMU's IOMMU and on ours.
 *
 *   --unit vtd|amdvi    which unit (vtd)
 *   --bits 39|48        address bits of a VT-d unit (48)
 *   --seed N            where the random numbers begin (1)
 *   --operations N      how many operations; fewer than by default need not meet the thresholds
 *   --episode N         one episode
 *   --keep LIST         of it only the operations at these places: how a failure is replayed
 *   --deviations FILE   another list of QEMU's known deviations
 *
 * Ends with 0 when nothing is wrong, 1 when something is, 2 without a QEMU or with arguments that it does not know.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { qemu } from '../qemu.ts'
import { deviationFile, deviationsOf } from './deviation.ts'
import { describeReport, runLane, type Lane } from './lane.ts'
import { keep } from './minimise.ts'
import { AmdviLane } from './amdvi/lane.ts'
import { VtdLane } from './vtd/lane.ts'

interface Asked {
  readonly seed: number
  readonly operations: number | undefined
  readonly episode: number | undefined
  readonly keep: readonly number[] | undefined
  readonly also: string
}

class UsageError extends Error {}

function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d+$/.test(text)) return text === undefined ? undefined : Number(text)
  throw new UsageError(`--${name} ${text} is not a whole number`)
}

/** True when nothing is wrong. */
function carryOut<Operation>(lane: Lane<Operation>, asked: Asked): boolean {
  const { seed, operations, episode: number } = asked
  console.log(`${lane.title}, seed ${seed}`)
  if (number === undefined) {
    const report = runLane(lane, { seed, also: asked.also, ...(operations === undefined ? {} : { operations }) })
    console.log(describeReport(lane, report))
    return report.problems.length === 0
  }
  let episode = lane.generate(seed, number)
  if (asked.keep !== undefined) {
    episode = keep(episode, asked.keep)
    for (const operation of episode.operations) console.log(lane.describe(operation))
  }
  const failure = lane.run(episode)
  console.log(failure === null ? 'no unexplained difference' : failure.text)
  return failure === null
}

function main(): number {
  const { values } = parseArgs({
    options: {
      unit: { type: 'string', default: 'vtd' },
      bits: { type: 'string', default: '48' },
      seed: { type: 'string', default: '1' },
      operations: { type: 'string' },
      episode: { type: 'string' },
      keep: { type: 'string' },
      deviations: { type: 'string' },
    },
  })
  const { unit, bits } = values
  if (unit !== 'vtd' && unit !== 'amdvi') throw new UsageError(`--unit ${unit} is neither vtd nor amdvi`)
  if (bits !== '39' && bits !== '48') throw new UsageError(`--bits ${bits} is neither 39 nor 48`)
  const asked: Asked = {
    seed: whole('seed', values.seed)!,
    operations: whole('operations', values.operations),
    episode: whole('episode', values.episode),
    keep: values.keep?.split(',').map((text) => whole('keep', text)!),
    also: values.deviations === undefined ? '' : ` --deviations ${resolve(values.deviations)}`,
  }
  // The reason has been printed.
  if (!qemu.ok) return 2
  console.log(`QEMU ${qemu.version.join('.')}`)
  const deviations = deviationsOf(values.deviations ?? deviationFile(unit), qemu.version)
  if (unit === 'amdvi') {
    using lane = new AmdviLane(deviations)
    return carryOut(lane, asked) ? 0 : 1
  }
  using lane = new VtdLane(bits === '39' ? 39 : 48, deviations)
  return carryOut(lane, asked) ? 0 : 1
}

try {
  process.exitCode = main()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(error.message)
  process.exitCode = 2
}
