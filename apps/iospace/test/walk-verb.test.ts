/** `iospace walk` as a command: its words, its files, its two outputs, and the page of documentation about it. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Host } from '../src/cli/host.ts'
import { main } from '../src/cli/main.ts'
import { VERBS } from '../src/verbs.ts'
import { fakeHost } from './host.ts'
import { memory, request, walk } from './walk-file.ts'

const FILE = {
  iommu: 'gart',
  personality: 'k8',
  registers: { F3x90: '0x1', F3x94: '0x20', F3x98: '0x10000' },
  memory: memory({ '0x1000000': '0x2345001', '0x1000004': '0x2345000' }, 'u32le'),
  requests: [
    request('00:02.0', 'read', '0x40000010'),
    request('00:02.0', 'write', '0x40001010', 1),
    request('00:02.0', 'read', '0x1000'),
  ],
}

const TREE = `gart k8: one flat table, pages of 4 KiB, no permissions

00:02.0 reads 4 bytes at 0x40000010
├─ PTE      0x1000000: 02345001  rw
│    valid=1  coherent=0  page=0x2345000
└─ 0x2345010 in a page of 4 KiB, rw

00:02.0 writes 1 byte at 0x40001010
├─ PTE      0x1000004: 02345000  --
│    valid=0  coherent=0  page=0x2345000
└─ fault: invalid entry
     nothing is recorded

00:02.0 reads 4 bytes at 0x1000
└─ 0x1000 untranslated, rw
`

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'iospace-walk-'))
  writeFileSync(join(folder, 'file.json'), JSON.stringify(FILE))
  mkdirSync(join(folder, 'folder'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function run(...argv: string[]) {
  const { host, written } = fakeHost({ folder })
  return { status: await main(host, VERBS, argv), ...written }
}

describe('words', () => {
  test.each([
    [[], 'walk needs a file: walk FILE.json'],
    [['--json'], 'walk needs a file: walk FILE.json'],
    [['file.json', 'other.json'], 'walk takes one file, not also “other.json”'],
    [['file.json', '--jsno'], 'walk has no option --jsno (did you mean --json?)'],
    [['file.json', '--json', '--json'], '--json was given twice'],
  ])('%j', async (argv, sentence) => {
    expect(await run('walk', ...argv)).toEqual({
      status: 2,
      out: '',
      err: `iospace: ${sentence} (see iospace --help)\n`,
    })
  })

  test.each([
    ['nothing', 'nothing cannot be read: it does not exist'],
    ['folder', 'folder cannot be read: it is a folder'],
    ['file.json/x', 'file.json/x cannot be read: a part of the path is not a folder'],
  ])('the file %s', async (file, sentence) => {
    expect(await run('walk', file, '--json')).toEqual({ status: 2, out: '', err: `iospace: ${sentence}\n` })
  })

  test('options go before or after the file, which may be named in any way', async () => {
    const found = await run('walk', '--json', 'file.json')
    expect(found).toMatchObject({ status: 0, err: '' })
    expect(await run('walk', './folder/../file.json', '--json')).toEqual(found)
    expect(await run('walk', join(folder, 'file.json'), '--json')).toEqual(found)
  })

  test('--help tells how a file looks, by an example that is one', async () => {
    const { status, out } = await run('walk', '--help')
    expect(status).toBe(0)
    expect(out).toContain('Usage: iospace walk FILE.json [OPTIONS]')
    const example = /\{"iommu"[^]*\]\}/.exec(out)![0]
    const { out: tree } = await walk(example)
    expect(tree).toContain('0x40000010\n├─ PTE      0x1000000: 02345001  rw')
    expect((await run('--help')).out).toContain('walk ')
  })
})

describe('outputs', () => {
  test('a tree for people', async () => {
    expect(await run('walk', 'file.json')).toEqual({ status: 0, out: TREE, err: '' })
  })

  test('a tree with colours is the same tree', async () => {
    const { host, written } = fakeHost({ folder, terminal: true })
    const coloured: Host = { ...host, out: { ...host.out, colours: true } }
    expect(await main(coloured, VERBS, ['walk', 'file.json'])).toBe(0)
    expect(written.out).toContain('\u001b[32m0x2345010')
    expect(written.out).toContain('\u001b[31mfault')
    expect(stripVTControlCharacters(written.out)).toBe(TREE)
  })

  test('--json is one line with exactly one object, its keys in this order', async () => {
    const { out } = await run('walk', 'file.json', '--json')
    expect(out).toMatch(
      /^\{"results":\[\{"machineAddress":"0x2345010","pageSize":4096,"access":"rw","steps":\[\{"entry":"PTE",/,
    )
    expect(out.indexOf('\n')).toBe(out.length - 1)
    const keys = (JSON.parse(out) as { results: object[] }).results.map((result) => Object.keys(result).join())
    expect(keys).toEqual([
      'machineAddress,pageSize,access,steps',
      'fault,record,steps',
      'machineAddress,pageSize,access,steps',
    ])
  })

  test('no requests, no results', async () => {
    expect(await walk({ ...FILE, requests: [] }, '--json')).toEqual({ status: 0, out: '{"results":[]}\n', err: '' })
    expect((await walk({ ...FILE, requests: [] })).out).toBe(TREE.slice(0, TREE.indexOf('\n') + 1))
  })

  test('reserved bits are shown by their places', async () => {
    const { out } = await walk({
      iommu: 'vtd',
      personality: 'nehalem-ep',
      registers: {},
      memory: memory({ '0x0': '0xc00000000000ffe1' }),
      requests: [request('00:00.0', 'read', '0x0')],
    })
    expect(out).toContain('P=1  bits 11, 10, 9, 8, 7, 6, … reserved  CTP=0xf000  bits 63, 62 reserved')
    expect(out).toContain('└─ fault 0xa: reserved bits set in root entry\n     recorded as 0x0 0xc000000a00000000\n')
  })
})

describe('in a process of its own', () => {
  const command = [`--conditions=@iospace/source`, join(import.meta.dirname, '../src/main.ts')]

  test('reads a pipe, writes to a pipe, without colours', () => {
    const out = execFileSync(
      'bash',
      ['-c', 'cat file.json | "$@" walk /dev/stdin', 'bash', process.execPath, ...command],
      {
        cwd: folder,
        encoding: 'utf8',
        env: { PATH: process.env['PATH'] },
      },
    )
    expect(out).toBe(TREE)
  })

  test('a mistake is status 2 with nothing on standard output', async () => {
    writeFileSync(join(folder, 'bad.json'), JSON.stringify({ ...FILE, registers: { F3x9c: 0 } }))
    const ended = await new Promise((resolve) => {
      execFile(
        process.execPath,
        [...command, 'walk', 'bad.json', '--json'],
        { cwd: folder, env: {} },
        (error, stdout, stderr) => resolve({ code: error?.code, stdout, stderr }),
      )
    })
    expect(ended).toEqual({
      code: 2,
      stdout: '',
      stderr: 'iospace: bad.json: $.registers.F3x9c is unknown: the registers here are F3x90, F3x94, F3x98\n',
    })
  })

  test('a reader that goes away ends a long answer early', () => {
    const requests = Array.from({ length: 20_000 }, () => FILE.requests[0])
    writeFileSync(join(folder, 'long.json'), JSON.stringify({ ...FILE, requests }))
    const line = '"$@" walk long.json | head -n 1; echo "${PIPESTATUS[0]}"'
    const out = execFileSync('bash', ['-c', line, 'bash', process.execPath, ...command], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    })
    expect(out).toBe(`${TREE.split('\n')[0]}\n0\n`)
  })
})

test('the examples of docs/reference/cli-walk.md are what the command does', async () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/reference/cli-walk.md'), 'utf8')
  const blocks = [...page.matchAll(/```(json|text)\n([^]*?)```/g)].map(([, , text]) => text!)
  expect(blocks).toHaveLength(4)
  const [first, tree, second, object] = blocks
  expect(await walk(first)).toEqual({ status: 0, out: tree, err: '' })
  const { status, out } = await walk(second, '--json')
  expect(status).toBe(0)
  expect(JSON.parse(out)).toEqual(JSON.parse(object!))
})
