/** For tests of systems with Vitest: a `test` with a system in it, and matchers. Importing it makes the matchers known. */
import { addMatchers } from './testing/matchers.ts'

export type { SystemMatchers } from './testing/matchers.ts'
export { systemTest, type SystemFixtures, type SystemRun } from './testing/fixtures.ts'

addMatchers()
