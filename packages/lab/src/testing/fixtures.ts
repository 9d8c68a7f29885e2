/** Vitest's `test` with whole systems in it: `systemTest('…', async ({ run }) => { const { outcome } = await run(description, ports) })`. */
import { test, type TestAPI } from 'vitest'
import { messageTurn } from '../adapt/turn.ts'
import { buildSystem, type SystemPorts } from '../build.ts'
import type { SystemDescription } from '../describe.ts'
import type { System, SystemOutcome } from '../system.ts'

export interface SystemRun {
  readonly system: System
  readonly outcome: SystemOutcome
}

export interface SystemFixtures {
  /** Builds a system and runs it to its end. */
  run(description: SystemDescription, ports: Partial<SystemPorts>): Promise<SystemRun>
}

/** `test` with {@link SystemFixtures}. */
export const systemTest: TestAPI<SystemFixtures> = test.extend<SystemFixtures>({
  // Vitest wants the first parameter destructured.
  // oxlint-disable-next-line no-empty-pattern
  run: async ({}, use) => {
    const { turn, close } = messageTurn()
    await use(async (description, ports) => {
      const system = buildSystem(description, { programs: {}, stores: {}, turn, ...ports })
      return { system, outcome: await system.run() }
    })
    close()
  },
})
