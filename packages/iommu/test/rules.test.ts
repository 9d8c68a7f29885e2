/**
 * The rules of the units (rules/MODEL.json), and the tests that cite them: `[vtd.fault.reason-5]` in the title of a test or of a describe
 * around it. A rule that no test cites, a citation of no rule, an id used twice: each fails here.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

interface Rule {
  readonly id: string
  readonly text: string
  readonly source: string
}

const MODELS = ['vtd', 'amdvi', 'calgary', 'gart'] as const
const root = fileURLToPath(new URL('../../..', import.meta.url))
const ID = `(?:${MODELS.join('|')})\\.[a-z0-9.-]+`
const CITATION = new RegExp(`\\[(${ID}(?:,\\s*${ID})*)\\]`, 'g')

const rulesOf = (model: string): Rule[] =>
  JSON.parse(readFileSync(join(root, 'packages/iommu/rules', `${model}.json`), 'utf8')) as Rule[]

/** Every id that a test file cites, and where. */
function citations(): Map<string, string> {
  const cited = new Map<string, string>()
  for (const folder of ['packages/iommu/test', 'packages/qemu/test', 'packages/hypervisor/test', 'apps/iospace/test']) {
    if (!existsSync(join(root, folder))) continue
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      // A suite that several units share is named for what it is; its citations count like those of a test.
      if (!/\.(?:test|suite)\.ts$|-suite\.ts$/.test(file) || file === 'rules.test.ts') continue
      const text = readFileSync(join(root, folder, file), 'utf8')
      for (const [, list] of text.matchAll(CITATION))
        for (const id of list!.split(/,\s*/)) cited.set(id, join(folder, file))
    }
  }
  return cited
}

describe.each(MODELS)('rules of %s', (model) => {
  const rules = rulesOf(model)

  test('have an id of their own, a text and a source each', () => {
    expect(new Set(rules.map(({ id }) => id)).size).toBe(rules.length)
    for (const { id, text, source } of rules) {
      expect(id).toMatch(new RegExp(`^${model}\\.[a-z0-9.-]+$`))
      expect([id, text.length > 10, source.length > 2]).toEqual([id, true, true])
    }
  })

  test('are cited by a test each', () => {
    const cited = citations()
    expect(rules.map(({ id }) => id).filter((id) => !cited.has(id))).toEqual([])
  })

  test('exist where they are cited', () => {
    const known = new Set(rules.map(({ id }) => id))
    const unknown = [...citations()].filter(([id]) => id.startsWith(`${model}.`) && !known.has(id))
    expect(unknown).toEqual([])
  })
})
