import { execFile, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { StorageReport } from 'iospace'
import { describe, expect, test } from 'vitest'
import { TestFolder } from './cli.ts'

const MAIN = fileURLToPath(new URL('../../../apps/iospace/src/main.ts', import.meta.url))
const NODE = ['--conditions=@iospace/source', MAIN]

/** Each starts a process or several; a busy machine takes its time. */
const TIMEOUT = 60_000

/** Bytes of a disk that changes, in MiB: a place that changes in each. */
const PLACES = 32

/** The workspace, and what is left of the environment without what the tests themselves were started by. */
const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name !== 'INIT_CWD' && !name.startsWith('npm_')),
)

interface Ended {
  readonly status: number
  readonly out: string
  readonly err: string
}

function run(folder: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return execute(process.execPath, [...NODE, ...args], folder, env)
}

function execute(
  program: string,
  args: readonly string[],
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, args, { cwd: folder, env: { ...ENVIRONMENT, ...env } }, (error, out, err) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? -1), out, err })
    })
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

  test('relative paths are relative to the user’s folder, also when the workspace’s script runs it (INIT_CWD)', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 10)
    const script = [
      '--prefix',
      ROOT,
      'run',
      '--silent',
      'iospace',
      '--',
      'run',
      'storage',
      '--image',
      'disk.img',
      '--json',
    ]
    const { status, out } = await execute('npm', script, folder.path)
    expect([status, JSON.parse(out)]).toMatchObject([0, { ok: true, bytes: 10 }])
  })

  test.each([
    [
      'another package’s script',
      (folder: TestFolder) => ({ npm_package_name: 'theirs', npm_package_json: folder.at('here/package.json') }),
    ],
    [
      'a script that went to another folder',
      (folder: TestFolder) => ({ npm_package_name: 'iospace-monorepo', npm_package_json: folder.at('package.json') }),
    ],
    ['nothing that a package manager says', () => ({})],
  ])('INIT_CWD does not count under %s', async (_name, env) => {
    using folder = new TestFolder()
    mkdirSync(folder.at('here'))
    folder.image('disk.img', 10)
    const args = ['run', 'storage', '--image', 'disk.img', '--json']
    const under = { INIT_CWD: folder.path, ...env(folder) }
    folder.image('here/disk.img', 20)
    expect(JSON.parse((await run(folder.at('here'), args, under)).out)).toMatchObject({ bytes: 20 })
  })

  test('a bit that flips between the disk and the guest is a sentence and status 1', async () => {
    using folder = new TestFolder()
    folder.image('disk.img', 300_000)
    // The medium: what the process reads of the file, but not the thread that hashes it.
    const medium = folder.file(
      'medium.mjs',
      `import fs from 'node:fs'
      import { syncBuiltinESMExports } from 'node:module'
      import { isMainThread } from 'node:worker_threads'
      const { readSync } = fs
      fs.readSync = (fd, target, at, length, position) => {
        const got = readSync(fd, target, at, length, position)
        if (isMainThread && position <= 123456 && position + got > 123456) target[at + 123456 - position] ^= 0x20
        return got
      }
      syncBuiltinESMExports()`,
    )
    const args = ['--import', medium, ...NODE, 'run', 'storage', '--image', 'disk.img', '--json']
    const { status, out, err } = await execute(process.execPath, args, folder.path)
    const report = JSON.parse(out) as StorageReport
    expect([status, report.ok, report.references, report.problems.length]).toEqual([1, false, 0, 1])
    expect(report.problems[0]).toMatch(
      /^what arrived in the guest is not what is in the file: its SHA-256 is [0-9a-f]{64}, the file’s [0-9a-f]{64}$/,
    )
    expect(err).toBe(`iospace: ${report.problems[0]}\n`)
  })

  test('a disk that changes while it is read is a sentence and status 1', async () => {
    using folder = new TestFolder()
    const disk = openSync(folder.image('disk.img', PLACES << 20), 'r+')
    const running = run(folder.path, ['run', 'storage', '--image', 'disk.img', '--json'])
    let ended = false
    void running.then(() => (ended = true))
    // Bytes all over the file change all the time: the guest and the hash cannot have seen the same ones everywhere.
    for (let round = 1; !ended; round++) {
      for (let place = 0; place < PLACES; place++) writeSync(disk, Uint8Array.of(round, round >>> 8), 0, 2, place << 20)
      await new Promise((wake) => setTimeout(wake, 1))
    }
    closeSync(disk)
    const { status, out, err } = await running
    const report = JSON.parse(out) as StorageReport
    expect([status, report.ok, report.references]).toEqual([1, false, 0])
    expect(report.problems).toEqual([
      `${folder.at('disk.img')} was changed while it was read: what arrived in the guest is not what was hashed`,
    ])
    expect(err).toBe(`iospace: ${report.problems[0]}\n`)
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
