import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const FIXTURE = fileURLToPath(new URL('fixtures/looping.ts', import.meta.url))

function run(...args: string[]): Promise<{ status: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['--conditions=@iospace/source', FIXTURE, ...args])
  const written = { out: '', err: '' }
  child.stdout.on('data', (piece) => (written.out += String(piece)))
  child.stderr.on('data', (piece) => (written.err += String(piece)))
  return new Promise((resolve) => child.on('close', (status) => resolve({ status, ...written })))
}

describe('the watchdog', { timeout: 60_000 }, () => {
  test('ends a process that loops without a call: prints where, runs what belongs to an exit, status 1', async () => {
    const { status, out, err } = await run('1', 'loop')
    expect(status).toBe(1)
    expect(err).toMatch(
      /^iospace: nothing has come back from a program for 1 s: it loops without calling anything\n {2}at countForEver \(file:.*looping\.ts:\d+:\d+\)\n/,
    )
    expect(out).toBe('left in order with 1\n')
  })

  test('leaves a process alone that lives, and does not keep it alive', async () => {
    expect(await run('1')).toEqual({ status: 0, out: 'left in order with 0\n', err: '' })
  })
})
