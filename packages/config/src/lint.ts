import { ENTRIES, FLOORS, type Floor } from './floors.ts'
import { HOT_FILES } from './hot-files.ts'

interface Pattern {
  readonly regex: string
  readonly message: string
}

type Rules = Readonly<Record<string, unknown>>

interface Override {
  readonly files: readonly string[]
  readonly rules: Rules
}

/** What a simulation may not see, and the port that stands for it. */
const HOST_GLOBALS: Readonly<Record<string, string>> = {
  Date: 'Use the virtual clock.',
  performance: 'Use the virtual clock.',
  setTimeout: 'Wait in virtual time.',
  setInterval: 'Wait in virtual time.',
  setImmediate: 'Wait in virtual time.',
  MessageChannel: 'The host hands in its macrotask port.',
  crypto: 'Use the seeded random source.',
  process: 'The host hands in what its environment says.',
  console: 'Use the injected logger.',
  fetch: 'The host hands in its files.',
  Buffer: 'Use Uint8Array.',
  WeakRef: 'Its answer depends on the garbage collector.',
  FinalizationRegistry: 'Its calls depend on the garbage collector.',
}

const HOT_GLOBALS: Readonly<Record<string, string>> = {
  BigInt: 'A hot file: use two words, or a frame number and an offset.',
  Map: 'A hot file: use a typed array.',
}

/** Files that break a rule on purpose. */
const EXCEPTIONS: Readonly<Record<string, Rules>> = {
  // The codecs are compiled from the struct's own fields, whose names are checked first.
  'packages/wire/src/compile.ts': { 'typescript/no-implied-eval': 'off' },
}

const escape = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)

/** The import patterns that `floor`'s files may not match. Oxlint's patterns have no look-around: each is spelt out. */
function refused(floor: Floor, where: 'src' | 'test'): Pattern[] {
  const patterns: Pattern[] = []
  const add = (regex: string, message: string): void => {
    patterns.push({ regex, message })
  }
  for (const other of FLOORS) {
    if (other === floor) {
      if (where === 'src') add(`^${escape(other.name)}(/|$)`, 'Inside a package, import the file.')
      continue
    }
    if (floor.may.includes(other.name)) continue
    const entries = ENTRIES[other.name] ?? []
    const closed = entries.filter((entry) => !floor.may.includes(`${other.name}/${entry}`))
    const message = `${floor.name} may not import ${other.name} (packages/config/src/floors.ts).`
    if (closed.length === entries.length) add(`^${escape(other.name)}(/|$)`, message)
    else {
      const open = entries.filter((entry) => !closed.includes(entry)).map((entry) => `./${entry}`)
      const only = `${floor.name} may import only ${open.join(' and ')} of ${other.name} (packages/config/src/floors.ts).`
      add(`^${escape(other.name)}(/(${closed.join('|')})(/|$)|$)`, only)
    }
  }
  const deep = 'Import a package by its entries, not its insides.'
  add('^(@iospace/[^/]+|iospace)/(src|dist|test|bench)(/|$)', deep)
  add(String.raw`^(\.\./)+[^/.]+/(src|dist|test|bench)(/|$)`, deep)
  add('(^|/)(packages|apps)/', deep)
  return patterns
}

const NODE: Pattern = { regex: '^node:', message: 'Only the host side may import Node modules; hand in a port.' }

const imports = (patterns: readonly Pattern[]): Rules => ({ 'no-restricted-imports': ['error', { patterns }] })

const globals = (table: Readonly<Record<string, string>>): Rules => ({
  'no-restricted-globals': [
    'error',
    { globals: Object.entries(table).map(([name, message]) => ({ name, message })), checkGlobalObject: true },
  ],
})

/** A later override of a rule replaces an earlier one, so these stand in the order general, exception. */
function overrides(): Override[] {
  const out: Override[] = []
  for (const floor of FLOORS) {
    const add = (globs: readonly string[], patterns: readonly Pattern[]): void => {
      const files = globs.map((glob) => `${floor.folder}/${glob}`)
      if (files.length > 0) out.push({ files, rules: imports(patterns) })
    }
    const sources = floor.host.filter((glob) => glob.startsWith('src/'))
    add(['src/**'], [...refused(floor, 'src'), NODE])
    add(sources, refused(floor, 'src'))
    add(
      floor.host.filter((glob) => !sources.includes(glob)),
      refused(floor, 'test'),
    )
  }
  out.push({
    files: FLOORS.filter((floor) => floor.simulation).map((floor) => `${floor.folder}/src/**`),
    rules: {
      ...globals(HOST_GLOBALS),
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'Use the seeded random source.' },
      ],
    },
  })
  for (const [file, rules] of Object.entries(EXCEPTIONS)) out.push({ files: [file], rules })
  if (HOT_FILES.length > 0) out.push({ files: HOT_FILES, rules: globals({ ...HOST_GLOBALS, ...HOT_GLOBALS }) })
  return out
}

/** Oxlint's whole configuration; `.oxlintrc.json` is this, written down. */
export function lintConfig() {
  return {
    $schema: './node_modules/oxlint/configuration_schema.json',
    plugins: ['typescript', 'unicorn', 'oxc', 'import'],
    categories: { correctness: 'error' },
    options: { typeAware: true, reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // TypeScript knows better which names a namespace has.
      'import/namespace': 'off',
      'import/no-cycle': ['error', { ignoreTypes: true }],
      'unicorn/prefer-node-protocol': 'error',
      'typescript/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      'typescript/no-explicit-any': 'error',
      'typescript/triple-slash-reference': ['error', { path: 'always', types: 'never', lib: 'never' }],
      'typescript/unbound-method': 'off',
      'typescript/no-misused-promises': 'error',
    },
    ignorePatterns: ['**/dist/**', '**/coverage/**', '**/*.generated.ts'],
    overrides: overrides(),
  }
}

/** The text of `.oxlintrc.json`. */
export function lintConfigText(): string {
  return `// Made by \`pnpm lint:generate\` from packages/config/src; a test checks that it is current.\n${JSON.stringify(lintConfig(), null, 2)}\n`
}
