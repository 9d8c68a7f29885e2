import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { main } from '../src/cli/main.ts'
import { VERBS } from '../src/verbs.ts'
import { fakeHost } from './host.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iospace-test-'))
  writeFileSync(join(folder, 'disk'), 'x'.repeat(1000))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function run(terminal: boolean, ...argv: string[]) {
  const { host, written } = fakeHost({ folder, terminal })
  const status = await main(host, VERBS, ['run', 'storage', '--image', 'disk', '--quiet', ...argv])
  return { status, ...written }
}

describe('bad usage', () => {
  test.each([
    [['--trace', 'copy'], /--trace \S+copy would overwrite \S+copy /],
    [['--trace', 'copy.partial'], /would overwrite \S+copy\.partial /],
    [['--trace', '.'], /cannot be written: it is a folder /],
    [['--trace', 'pipe'], /is a pipe, not a file /],
  ])('--out copy %j: one sentence, and no file is left behind', async (argv, sentence) => {
    execFileSync('bash', ['-c', 'mkfifo "$0"', join(folder, 'pipe')])
    const { status, out, err } = await run(false, '--out', 'copy', ...argv)
    expect([status, out]).toEqual([2, ''])
    expect(err).toMatch(sentence)
    expect(readdirSync(folder).sort()).toEqual(['disk', 'pipe'])
  })
})

describe('a failed run tells its problems on the error stream', () => {
  const problem = 'iospace: /dev/full is not whole: the disk is full\n'

  test.each([
    ['for programs', ['--json']],
    ['for people', []],
  ])('%s', async (_, argv) => {
    const { status, out, err } = await run(false, '--trace', '/dev/full', ...argv)
    expect([status, err]).toEqual([1, problem])
    expect(out).toContain('/dev/full is not whole')
  })

  test('but not twice on one terminal', async () => {
    const { status, out, err } = await run(true, '--trace', '/dev/full')
    expect([status, err]).toEqual([1, ''])
    expect(out).toContain('/dev/full is not whole: the disk is full')
  })
})
