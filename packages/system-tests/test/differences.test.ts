/** Each deliberate difference from Xen names a test that shows it, and that test exists. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../../..')
const rows = [
  ...readFileSync(join(ROOT, 'docs/spec/differences.md'), 'utf8').matchAll(/\| `([\w/.-]+\.test\.ts)`: (.+?)\s*\|$/gm),
]

test('the list of differences is not empty, and every row of it has a test', () => {
  const lines = readFileSync(join(ROOT, 'docs/spec/differences.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('|'))
  expect(rows.length).toBeGreaterThan(0)
  // Two lines of each table are its head.
  expect(rows).toHaveLength(lines.length - 2)
})

test.each(rows.map(([, file, name]) => [file!, name!]))('%s has a test named “…%s…”', (file, name) => {
  const names = readFileSync(join(ROOT, 'packages', file), 'utf8')
    .split('\n')
    .filter((line) => /\b(test|describe|systemTest)\b.*\(/.test(line))
  expect(names.filter((line) => line.replaceAll("\\'", "'").includes(name))).not.toEqual([])
})
