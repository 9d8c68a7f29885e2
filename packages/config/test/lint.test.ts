import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { ENTRIES, FLOORS, type Floor } from '../src/floors.ts'
import { HOT_FILES } from '../src/hot-files.ts'
import { lintConfig, lintConfigText } from '../src/lint.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const oxlint = fileURLToPath(new URL('../node_modules/.bin/oxlint', import.meta.url))

interface Finding {
  readonly code: string
  readonly filename: string
  readonly labels: readonly { readonly span: { readonly line: number } }[]
}

/** Lints `files` (path to lines) in an empty folder; the answer is the lines that broke one of `rules`, as `path: line's text`. */
function lint(config: string, files: Readonly<Record<string, readonly string[]>>, rules: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'iospace-lint-'))
  try {
    writeFileSync(join(folder, '.oxlintrc.json'), config)
    for (const [path, lines] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), lines.join('\n') + '\n')
    }
    const { stdout } = spawnSync(oxlint, ['--format=json'], { cwd: folder, encoding: 'utf8' })
    const { diagnostics } = JSON.parse(stdout) as { diagnostics: readonly Finding[] }
    const lines = diagnostics
      .filter(({ code }) => rules.includes(code))
      .map(({ filename, labels }) => `${filename}: ${files[filename]?.[(labels[0]?.span.line ?? 0) - 1]}`)
    return [...new Set(lines)].toSorted()
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Oxlint without its type-aware half, which would need the packages installed. */
const untyped = (config: ReturnType<typeof lintConfig>): string =>
  JSON.stringify({ ...config, options: { ...config.options, typeAware: false } })

/** What a file of `floor` could import of ours: every package, and each entry that is allowed one by one. */
const entriesOf = (name: string): string[] => ENTRIES[name]?.map((entry) => `${name}/${entry}`) ?? [name]

const allowed = (floor: Floor, specifier: string): boolean =>
  floor.may.some((entry) => specifier === entry || specifier.startsWith(`${entry}/`))

const DEEP = [
  '@iospace/wire/src/index.ts',
  '@iospace/iommu/dist/walk.js',
  '../../wire/src/index.ts',
  '../../../packages/wire/dist/index.js',
]

const line = (specifier: string): string => `import '${specifier}'`

describe('imports', () => {
  const files: Record<string, readonly string[]> = {}
  const wrong: string[] = []
  for (const floor of FLOORS) {
    for (const place of ['src', 'test', 'bench']) {
      const path = `${floor.folder}/${place}/imports.ts`
      const others = FLOORS.filter((other) => other !== floor).flatMap((other) => entriesOf(other.name))
      const host = floor.host.some((glob) => glob === '**' || glob === `${place}/**`)
      const refused = [
        ...others.filter((specifier) => !allowed(floor, specifier)),
        ...DEEP,
        ...(host ? ['fs'] : ['node:fs', 'node:worker_threads', 'fs']),
      ].map(line)
      files[path] = [...refused, ...[...others, 'node:fs', './own.ts', '../src/own.ts'].map(line)]
      wrong.push(...refused.map((text) => `${path}: ${text}`))
    }
  }
  const IMPORTS = ['eslint(no-restricted-imports)', 'unicorn(prefer-node-protocol)']

  test('each floor refuses exactly what the table does not allow it', () => {
    expect(lint(untyped(lintConfig()), files, IMPORTS)).toEqual(wrong.toSorted())
  })

  test('every form of a wrong import is caught', () => {
    const forms = [
      `import { Hypervisor } from '@iospace/hypervisor'`,
      `import type { Domain } from '@iospace/hypervisor'`,
      `export { Domain } from '@iospace/hypervisor'`,
      `export * from '@iospace/hypervisor'`,
      `const it = await import('@iospace/hypervisor')`,
      `import '@iospace/hypervisor'`,
    ]
    const path = 'packages/linux/src/kernel.ts'
    const caught = lint(untyped(lintConfig()), { [path]: forms }, ['eslint(no-restricted-imports)'])
    expect(caught).toEqual(forms.map((form) => `${path}: ${form}`).toSorted())
  })

  test('it is the rules made from the table that refuse: without them every import passes', () => {
    expect(lint(untyped({ ...lintConfig(), overrides: [] }), files, ['eslint(no-restricted-imports)'])).toEqual([])
  })
})

describe('what a simulation may not see', () => {
  const uses = [
    'Date.now()',
    'performance.now()',
    'Math.random()',
    'process.env',
    'setTimeout(() => {}, 1)',
    'setImmediate(() => {})',
    'console.log(1)',
    'new MessageChannel()',
    'globalThis.Date.now()',
    `globalThis['process']`,
  ].map((use) => `export default ${use}`)
  const RULES = ['eslint(no-restricted-globals)', 'eslint(no-restricted-properties)']

  test('time, randomness, the environment and the log are refused in its sources, and nowhere else', () => {
    const files: Record<string, readonly string[]> = {}
    for (const { folder } of FLOORS) for (const place of ['src', 'test']) files[`${folder}/${place}/uses.ts`] = uses
    const wrong = FLOORS.filter((floor) => floor.simulation).flatMap(({ folder }) =>
      uses.map((use) => `${folder}/src/uses.ts: ${use}`),
    )
    expect(lint(untyped(lintConfig()), files, RULES)).toEqual(wrong.toSorted())
  })

  test('in hot files BigInt and Map are refused as well', () => {
    const values = ['export const a = BigInt(1)', 'export const b = new Map()', 'export const c = Date.now()']
    const files = Object.fromEntries(HOT_FILES.map((path) => [path, values]))
    const wrong = HOT_FILES.flatMap((path) => values.map((value) => `${path}: ${value}`))
    expect(lint(untyped(lintConfig()), files, RULES)).toEqual(wrong.toSorted())
  })
})

test.each(HOT_FILES)('the hot file %s exists and has no bigint literal', (path) => {
  expect(existsSync(join(root, path))).toBe(true)
  const code = readFileSync(join(root, path), 'utf8').replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, '')
  expect(code).not.toMatch(/\b(0x[\da-f_]+|\d[\d_]*)n\b/i)
})

test('.oxlintrc.json is what packages/config makes (pnpm lint:generate)', () => {
  expect(readFileSync(join(root, '.oxlintrc.json'), 'utf8')).toBe(lintConfigText())
})
