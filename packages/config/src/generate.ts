import { writeFileSync } from 'node:fs'
import { lintConfigText } from './lint.ts'

writeFileSync(new URL('../../../.oxlintrc.json', import.meta.url), lintConfigText())
