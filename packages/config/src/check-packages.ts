/** `pnpm packages:check`: publint on what each publishable package would ship. Needs `pnpm build` first. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { FLOORS } from './floors.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
let failed = 0
for (const { folder } of FLOORS) {
  const { private: hidden } = JSON.parse(readFileSync(`${root}${folder}/package.json`, 'utf8')) as { private?: boolean }
  if (hidden) continue
  const { status } = spawnSync('publint', ['run', folder, '--strict'], { cwd: root, stdio: 'inherit' })
  if (status !== 0) failed += 1
}
process.exitCode = failed === 0 ? 0 : 1
