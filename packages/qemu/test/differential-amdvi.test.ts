/**
 * The same random operations on QEMU's AMD-Vi unit and on ours: tables (corrupt ones too), invalidations (too few of them too), DMA both
 * ways. Our unit must do what the specification foretells and QEMU's what its known deviations make of that, in what a device saw and
 * what memory holds; QEMU's event log is of no use.
 */
import { expect, test } from 'vitest'
import { DEVIATIONS } from './differential/amdvi/deviates.ts'
import { generateEpisode, OPERATIONS_PER_EPISODE } from './differential/amdvi/generate.ts'
import { AmdviLane } from './differential/amdvi/lane.ts'
import { deviationFile, readDeviations } from './differential/deviation.ts'
import { runLane } from './differential/lane.ts'
import { expectReplay, knownDeviations, LIMIT, runWhole } from './differential-lanes.ts'
import { qemuTest } from './qemu.ts'

const deviations = knownDeviations('amdvi')

qemuTest(
  'QEMU and our model agree over a whole run, with tables of 1 to 6 levels and pages of every size',
  LIMIT,
  () => {
    using lane = new AmdviLane(deviations)
    expect(runWhole(lane).problems).toEqual([])
  },
)

qemuTest(
  'a difference that nothing explains is made small, printed as a command, and the command shows it again',
  LIMIT,
  () => {
    expectReplay('amdvi', ['--unit', 'amdvi'], 'absent-leaf-translates', 10)
  },
)

qemuTest('a unit that remembers nothing is found out: QEMU serves what was not invalidated', LIMIT, () => {
  const none = { sets: 4, ways: 0 }
  using lane = new AmdviLane(deviations, { iotlb: none, iotlb2M: none, iotlb1G: none })
  expect(runLane(lane, { seed: 1, operations: 4000 }).failure).not.toBeNull()
})

// Deviations come and go with versions: one that another version has is as good as one that was corrected.
const gone = readDeviations(deviationFile('amdvi')).filter(({ id }) => !deviations.some((known) => known.id === id))
const others = gone.length === 0 ? test.skip : qemuTest
others('a known deviation that QEMU does not show where it should is found out', LIMIT, () => {
  using lane = new AmdviLane([...deviations, ...gone])
  const { failure } = runLane(lane, { seed: 1, operations: 4000 })
  expect(failure?.failure.text).toContain('QEMU does not do what is known of it')
})

test('each deviation that can be shown is listed, with reason and reference', () => {
  const listed = readDeviations(deviationFile('amdvi'))
  expect(listed.map(({ id }) => id).toSorted()).toEqual([...DEVIATIONS].toSorted())
  for (const { reason, reference } of listed) expect(reason.length * reference.length).toBeGreaterThan(0)
})

test('an episode depends on its seed and number only', () => {
  expect(generateEpisode(7, 3)).toEqual(generateEpisode(7, 3))
  expect(generateEpisode(7, 3)).not.toEqual(generateEpisode(8, 3))
  expect(generateEpisode(7, 3).operations.length).toBeGreaterThanOrEqual(OPERATIONS_PER_EPISODE)
})
