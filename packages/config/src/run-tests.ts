/**
 * `pnpm test`: type-checks everything, runs every package's tests through turbo, and ends with one line of totals.
 * Arguments go to turbo, for example `--filter=@iospace/wire` or `--force`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FLOORS } from './floors.ts'

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly success: boolean
  readonly testResults: readonly unknown[]
}

const root = fileURLToPath(new URL('../../..', import.meta.url))
const reports = FLOORS.map((floor) => join(root, floor.folder, '.turbo/vitest.json'))

function run(command: string, args: readonly string[]): boolean {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: '1', TURBO_NO_UPDATE_NOTIFIER: '1' }
  return spawnSync(command, args, { cwd: root, env, stdio: 'inherit' }).status === 0
}

for (const report of reports) rmSync(report, { force: true })
const typed = run('tsc', ['-b'])
const args = ['run', 'test', '--continue', '--output-logs=errors-only', ...process.argv.slice(2)]
const tested = run('turbo', args)

let [passed, failed, skipped, files, packages] = [0, 0, 0, 0, 0]
for (const path of reports.filter((report) => existsSync(report))) {
  const report = JSON.parse(readFileSync(path, 'utf8')) as Report
  passed += report.numPassedTests
  failed += report.numFailedTests
  skipped += report.numPendingTests + report.numTodoTests
  files += report.testResults.length
  packages += 1
}
console.log(`Types: ${typed ? 'passed' : 'FAILED'}`)
console.log(
  `Tests: ${passed} passed, ${failed} failed, ${skipped} skipped, in ${files} files of ${packages} packages` +
    (tested || failed > 0 ? '' : ' (a test run FAILED to finish, see above)'),
)
process.exitCode = typed && tested ? 0 : 1
