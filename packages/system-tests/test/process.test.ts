import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { TestFolder } from './cli.ts'

const MAIN = fileURLToPath(new URL('../../../apps/iospace/src/main.ts', import.meta.url))
const NODE = ['--conditions=@iospace/source', MAIN]

/** Each starts a process or several; a busy machine takes its time. */
const TIMEOUT = 60_000

/** What the tests themselves were started by is not the user's folder. */
const { INIT_CWD: _, ...ENVIRONMENT } = process.env

interface Ended {
  readonly status: number
  readonly out: string
  readonly err: string
}

function run(folder: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...NODE, ...args],
      { cwd: folder, env: { ...ENVIRONMENT, ...env } },
      (error, out, err) => {
        resolve({ status: error === null ? 0 : Number(error.code ?? -1), out, err })
      },
    )
  })
}

describe('the command as a process', { timeout: TIMEOUT }, () => {
  test('prints one JSON object and nothing else, and ends with status 0', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 70_000)
    const { status, out, err } = await run(folder.path, ['run', 'storage', '--image', 'disk.img', '--json'])
    expect([status, err]).toEqual([0, ''])
    expect(out.trimEnd().split('\n')).toHaveLength(1)
    expect(JSON.parse(out)).toMatchObject({ ok: true, bytes: 70_000 })
  })

  test('bad usage ends with status 2', async () => {
    using folder = new TestFolder()
    expect(await run(folder.path, ['run', 'storage', '--nope'])).toMatchObject({ status: 2, out: '' })
  })

  test('relative paths are relative to the user’s folder, also under a package manager (INIT_CWD)', async () => {
    using folder = new TestFolder()
    mkdirSync(folder.at('elsewhere'))
    folder.image('disk.img', 10)
    const args = ['run', 'storage', '--image', 'disk.img', '--json']
    expect((await run(folder.at('elsewhere'), args, { INIT_CWD: folder.path })).status).toBe(0)
    expect((await run(folder.at('elsewhere'), args)).status).toBe(2)
  })

  test('a full disk under --out is a sentence, status 1, and FILE.partial', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 3_000_000)
    // The shell lets a file grow to 1 MiB: what a full disk is to a process.
    const command = ['-c', 'ulimit -f 1024 && exec "$0" "$@"', process.execPath, ...NODE]
    const child = spawn('bash', [...command, 'run', 'storage', '--image', 'disk.img', '--out', 'copy.img'], {
      cwd: folder.path,
      env: ENVIRONMENT,
    })
    let out = ''
    child.stdout.on('data', (piece) => (out += String(piece)))
    const status = await new Promise((resolve) => child.on('close', resolve))
    expect(status).toBe(1)
    expect(out).toContain(
      `FAILED:\n  ${folder.at('copy.img.partial')} cannot be written: the file would be too large\n`,
    )
    expect([existsSync(folder.at('copy.img')), existsSync(folder.at('copy.img.partial'))]).toEqual([false, true])
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s deletes the disk that was made', async (signal) => {
    using folder = new TestFolder()
    const child = spawn(process.execPath, [...NODE, 'run', 'storage'], { env: { ...ENVIRONMENT, TMPDIR: folder.path } })
    const made = (): string[] => readdirSync(folder.path)
    while (made().length === 0 || !existsSync(join(folder.path, made()[0]!, 'disk.img')))
      await new Promise((wake) => setTimeout(wake, 5))
    child.kill(signal)
    const status = await new Promise((resolve) => child.on('close', (code) => resolve(code)))
    expect(status).toBe(signal === 'SIGINT' ? 130 : 143)
    expect(made()).toEqual([])
  })

  test('a disk that was made is gone after the run', async () => {
    using folder = new TestFolder()
    const { status } = await run(folder.path, ['run', 'storage', '--json'], { TMPDIR: folder.path })
    expect([status, readdirSync(folder.path)]).toEqual([0, []])
  })
})
