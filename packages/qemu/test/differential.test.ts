/**
 * The same random operations on QEMU's VT-d unit and on ours: tables (corrupt ones too), invalidations (too few of them too), DMA both
 * ways. What a device saw, what memory holds and what the fault record says must be the same, but for QEMU's known deviations.
 */
import { describe, expect, test } from 'vitest'
import { FULL_RUN, RUN_OPERATIONS } from './differential/coverage.ts'
import { deviationsOf } from './differential/deviations.ts'
import { generateEpisode, OPERATIONS_PER_EPISODE } from './differential/generate.ts'
import { keep, minimise } from './differential/minimise.ts'
import { describeReport } from './differential/print.ts'
import { runDifferential } from './differential/report.ts'
import { DifferentialRun } from './differential/run.ts'
import { qemu, qemuTest } from './qemu.ts'

const seed = Number(process.env['FC_SEED'] ?? 1)
const deviations = qemu.ok ? deviationsOf(qemu.version) : []
const LIMIT = { timeout: 600_000 }

describe('VT-d: QEMU and our model agree', () => {
  qemuTest('over 20,000 operations, with tables of 3 and 4 levels and every reason and page size met', LIMIT, () => {
    using run = new DifferentialRun(48, deviations)
    const report = runDifferential(run, { addressBits: 48, seed, operations: RUN_OPERATIONS, deviations })
    console.log(`VT-d, 48 bits, seed ${seed}\n${describeReport(report)}`)
    expect(report.problems).toEqual([])
  })

  qemuTest('over a shorter run of the 39-bit unit', LIMIT, () => {
    using run = new DifferentialRun(39, deviations)
    const report = runDifferential(run, { addressBits: 39, seed, operations: 4000, deviations, least: null })
    console.log(`VT-d, 39 bits, seed ${seed}\n${describeReport(report)}`)
    expect(report.problems).toEqual([])
  })
})

describe('a run that should fail fails', () => {
  qemuTest('a difference that nothing explains is made small, and the replay shows it again', LIMIT, () => {
    const known = deviations.filter(({ id }) => id !== 'cached-rights-are-final')
    using run = new DifferentialRun(39, known)
    const plan = { addressBits: 39, seed: 1, operations: 4000, deviations: known, least: null } as const
    const { failure, problems } = runDifferential(run, plan)
    expect(problems).toEqual([`unexplained difference: ${failure!.replay}`])
    // At least a way down, a transfer that caches it, and one that needs more.
    expect(failure!.kept.length).toBeLessThan(12)
    const [, number, kept] = /--episode (\d+) --keep ([\d,]+)$/.exec(failure!.replay)!
    const episode = keep(generateEpisode(1, Number(number), 39), kept!.split(',').map(Number))
    expect(run.run(episode)?.index).toBe(episode.operations.length - 1)
  })

  qemuTest('a unit that remembers nothing is found out: QEMU serves what was not invalidated', LIMIT, () => {
    const none = { sets: 4, ways: 0 }
    using run = new DifferentialRun(39, deviations, { iotlb: none, iotlb2M: none, iotlb1G: none })
    const report = runDifferential(run, { addressBits: 39, seed: 1, operations: 4000, deviations, least: null })
    expect(report.failure).not.toBeNull()
  })

  qemuTest('a known deviation that never occurs, and what was met too seldom, are problems', LIMIT, () => {
    const made = { id: 'made-up', reason: '', reference: '', explains: () => false }
    const known = [...deviations, made]
    using run = new DifferentialRun(39, known)
    const { problems } = runDifferential(run, { addressBits: 39, seed: 1, operations: 1, deviations: known })
    expect(problems).toContain('known deviation that does not occur: made-up')
    expect(problems).toContain(`operations: ${run.coverage.operations} of ${FULL_RUN.operations}`)
  })
})

test('an episode depends on its seed and number only', () => {
  expect(generateEpisode(7, 3, 48)).toEqual(generateEpisode(7, 3, 48))
  expect(generateEpisode(7, 3, 48)).not.toEqual(generateEpisode(8, 3, 48))
  expect(generateEpisode(7, 3, 48).operations.length).toBeGreaterThanOrEqual(OPERATIONS_PER_EPISODE)
})

test('minimising leaves what a failure needs, and nothing else', () => {
  const from = Array.from({ length: 300 }, (_, i) => i)
  let tries = 0
  const fails = (kept: readonly number[]) => (tries++, [17, 18, 250].every((index) => kept.includes(index)))
  expect(minimise(from, fails)).toEqual([17, 18, 250])
  expect(tries).toBeLessThan(200)
})
