/** Docs lead somewhere: every relative link of a Markdown file of the repository names a file or folder that exists. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../../..')
const files = globSync('{*.md,docs/**/*.md,packages/*/*.md,apps/*/*.md,packages/system-tests/attacks/**/*.md}', {
  cwd: ROOT,
})

test.each(files)('%s: its links lead to files that exist', (file) => {
  const links = [...readFileSync(join(ROOT, file), 'utf8').matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(
    ([, link]) => link!,
  )
  expect(links.filter((link) => !existsSync(join(ROOT, dirname(file), link)))).toEqual([])
})
