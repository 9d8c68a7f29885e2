/**
 * The same random operations on QEMU's VT-d unit and on ours: tables (corrupt ones too), invalidations (too few of them too), DMA both
 * ways. In what a device saw, what memory holds and what the fault record says, our unit must do what the specification foretells and
 * QEMU's what its known deviations make of that.
 */
import { expect, test } from 'vitest'
import { deviationFile, readDeviations } from './differential/deviation.ts'
import { runLane } from './differential/lane.ts'
import { DEVIATIONS } from './differential/vtd/deviates.ts'
import { generateEpisode, OPERATIONS_PER_EPISODE } from './differential/vtd/generate.ts'
import { VtdLane } from './differential/vtd/lane.ts'
import { expectReplay, knownDeviations, LIMIT, runWhole } from './differential-lanes.ts'
import { qemuTest } from './qemu.ts'

const deviations = knownDeviations('vtd')

qemuTest('QEMU and our model agree over a whole run of units with tables of 3 and 4 levels', LIMIT, () => {
  using lane = new VtdLane(48, deviations)
  expect(runWhole(lane).problems).toEqual([])
})

qemuTest('QEMU and our model agree over a shorter run of 39-bit units', LIMIT, () => {
  using lane = new VtdLane(39, deviations)
  expect(runWhole(lane, 4000).problems).toEqual([])
})

qemuTest(
  'a difference that nothing explains is made small, printed as a command, and the command shows it again',
  LIMIT,
  () => {
    // At least a way down, a transfer that caches it, and one that needs more.
    expectReplay('vtd', ['--unit', 'vtd', '--bits', '39'], 'cached-rights-are-final', 12)
  },
)

qemuTest('a unit that remembers nothing is found out: QEMU serves what was not invalidated', LIMIT, () => {
  const none = { sets: 4, ways: 0 }
  using lane = new VtdLane(39, deviations, { iotlb: none, iotlb2M: none, iotlb1G: none })
  expect(runLane(lane, { seed: 1, operations: 4000 }).failure).not.toBeNull()
})

qemuTest('a known deviation that does not occur, and what was met too seldom, are problems', LIMIT, () => {
  using lane = new VtdLane(39, deviations, { wholeRun: 1 })
  const { problems } = runLane(lane, { seed: 1 })
  expect(problems).toContain('known deviation that does not occur: all-ones-entry')
  expect(problems).toContain(`operations: ${lane.coverage.operations} of 20000`)
})

test('each deviation that can be shown is listed, with reason and reference', () => {
  const listed = readDeviations(deviationFile('vtd'))
  expect(listed.map(({ id }) => id).toSorted()).toEqual([...DEVIATIONS].toSorted())
  for (const { reason, reference } of listed) expect(reason.length * reference.length).toBeGreaterThan(0)
})

test('an episode depends on its seed and number only', () => {
  expect(generateEpisode(7, 3, 48)).toEqual(generateEpisode(7, 3, 48))
  expect(generateEpisode(7, 3, 48)).not.toEqual(generateEpisode(8, 3, 48))
  expect(generateEpisode(7, 3, 48).operations.length).toBeGreaterThanOrEqual(OPERATIONS_PER_EPISODE)
})
