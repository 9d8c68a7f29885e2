/** What every differential lane must show, on top of its own whole run: that a run which should fail fails, and how. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { deviationFile, deviationsOf, readDeviations, type KnownDeviation } from './differential/deviation.ts'
import { describeReport, runLane, type Lane, type Report } from './differential/lane.ts'
import { qemu } from './qemu.ts'

export const SEED = Number(process.env['FC_SEED'] ?? 1)
export const LIMIT = { timeout: 600_000 }

/** What is known of the QEMU that was found. */
export const knownDeviations = (lane: 'vtd' | 'amdvi'): readonly KnownDeviation[] =>
  qemu.ok ? deviationsOf(deviationFile(lane), qemu.version) : []

/** Runs `lane`, and prints its seed and what it met. */
export function runWhole<Operation>(lane: Lane<Operation>, operations?: number): Report {
  const report = runLane(lane, operations === undefined ? { seed: SEED } : { seed: SEED, operations })
  console.log(`${lane.title}, seed ${SEED}\n${describeReport(lane, report)}`)
  return report
}

const MAIN = fileURLToPath(new URL('differential/main.ts', import.meta.url))

function differential(args: readonly string[]) {
  const { status, stdout } = spawnSync(process.execPath, ['--conditions=@iospace/source', MAIN, ...args], {
    encoding: 'utf8',
  })
  return { status, lines: stdout.trimEnd().split('\n') }
}

/**
 * Takes `id` out of a copy of the list of deviations: the command line must end with 1 and print a command of at most `most` operations,
 * which must show the same difference again, and none with the whole list.
 */
export function expectReplay(lane: 'vtd' | 'amdvi', options: readonly string[], id: string, most: number): void {
  const folder = mkdtempSync(join(tmpdir(), 'iospace-test-'))
  try {
    const file = join(folder, 'deviations.json')
    const others = readDeviations(deviationFile(lane)).filter((deviation) => deviation.id !== id)
    writeFileSync(file, JSON.stringify(others))
    const found = differential([...options, '--seed', '1', '--deviations', file])
    const printed = found.lines.find((line) => line.startsWith('unexplained difference: '))
    expect([found.status, printed]).toEqual([1, expect.stringContaining('pnpm --filter @iospace/qemu differential ')])
    const args = printed!.split(' differential ')[1]!.split(' ')
    const kept = args[args.indexOf('--keep') + 1]!.split(',')
    expect(kept.length).toBeLessThanOrEqual(most)
    const again = differential(args)
    expect(again.status).toBe(1)
    // Title and seed, the operations, and then what the run had shown.
    const shown = found.lines.slice(found.lines.indexOf(printed!) + 1)
    expect(again.lines.slice(2 + kept.length)).toEqual(shown)
    const explained = differential(args.slice(0, args.indexOf('--deviations')))
    expect([explained.status, explained.lines.at(-1)]).toEqual([0, 'no unexplained difference'])
  } finally {
    rmSync(folder, { recursive: true })
  }
}
