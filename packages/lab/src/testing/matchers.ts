/** Matchers for what a test of a system asks again and again. */
import { Errno, errnoName, type ErrnoName } from '@iospace/abi'
import { expect } from 'vitest'
import type { System, SystemOutcome } from '../system.ts'

/** What {@link addMatchers} adds to an assertion. */
export interface SystemMatchers<R> {
  /** A result is the negated errno of that name. */
  toBeErrno(name: ErrnoName): R
  /** Of a {@link System}: mappings made = ended, no reference is left, and dom0 alone lives. */
  toHaveBalancedBooks(): R
  /** Of a run's outcome: every program came to its end, and none crashed. */
  toHaveFinished(): R
}

declare module 'vitest' {
  // Type parameters as Vitest declares them.
  interface Matchers<R extends void | Promise<void> = void | Promise<void>, T = unknown> extends SystemMatchers<R> {}
}

const negated = (isNot: boolean): string => (isNot ? 'not ' : '')

/** Makes the matchers known to `expect`. */
export function addMatchers(): void {
  expect.extend({
    toBeErrno(received: number, name: ErrnoName) {
      const pass = received === -Errno[name]
      const got = received < 0 ? (errnoName(received) ?? String(received)) : String(received)
      return { pass, message: () => `expected ${negated(this.isNot)}${name}, got ${got}`, actual: got, expected: name }
    },
    toHaveBalancedBooks(received: System) {
      const { mappings, references, grantMaps, domains } = received.books()
      const wrong = [
        mappings.made === mappings.ended ? null : `${mappings.made} mappings made, ${mappings.ended} ended`,
        mappings.pagesMade === mappings.pagesEnded
          ? null
          : `${mappings.pagesMade} pages mapped, ${mappings.pagesEnded} unmapped`,
        grantMaps.made === grantMaps.ended ? null : `${grantMaps.made} grants mapped, ${grantMaps.ended} unmapped`,
        references === 0 ? null : `${references} references left`,
        domains.length === 1 ? null : `left alive: ${domains.map(({ name, life }) => `${name} (${life})`).join(', ')}`,
      ].filter((line) => line !== null)
      return {
        pass: wrong.length === 0,
        message: () => `expected the books ${negated(this.isNot)}to balance: ${wrong.join('; ') || 'they do'}`,
      }
    },
    toHaveFinished(received: SystemOutcome) {
      const { finished, crashes, waiting } = received
      const lines = [...crashes.map(({ domain, error }) => `${domain} crashed: ${String(error)}`), ...waiting]
      return {
        pass: finished && crashes.length === 0,
        message: () => `expected the run ${negated(this.isNot)}to finish: ${lines.join('; ') || 'it did'}`,
      }
    },
  })
}
