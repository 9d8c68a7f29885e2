import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

test('the example in the README runs', () => {
  const folder = fileURLToPath(new URL('..', import.meta.url))
  const example = /```ts\n([\s\S]*?)```/.exec(readFileSync(`${folder}README.md`, 'utf8'))![1]!
  const flags = ['--conditions=@iospace/source', '--input-type=module-typescript', '--eval', example]
  expect(execFileSync(process.execPath, flags, { cwd: folder, encoding: 'utf8' })).toMatch(
    /^\{ kind: 'finished' \} \d+\n$/,
  )
})
