import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** Under turbo each package also leaves its totals in a file, which `pnpm test` adds up. */
const reporters: NonNullable<ViteUserConfig['test']>['reporters'] = process.env['TURBO_HASH']
  ? ['default', ['json', { outputFile: '.turbo/vitest.json' }]]
  : ['default']

/** The Vitest preset of every package: tests live in `test/` (attacks in `attacks/`) and import the other packages' sources. */
const preset: ViteUserConfig = defineConfig({
  ssr: { resolve: { conditions: ['@iospace/source'] } },
  // No test here is about time: on a busy machine a whole system takes its own.
  test: { include: ['{test,attacks}/**/*.test.ts'], passWithNoTests: true, reporters, testTimeout: 60_000 },
})

export default preset
