/** QEMU's known deviations: data, in `vtd/deviations.json` and `amdvi/deviations.json`, so that what is let through can be read. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface KnownDeviation {
  readonly id: string
  readonly reason: string
  /** Where it is written, in the facts or in the specification. */
  readonly reference: string
  /** First version of QEMU, as measured, that does not have it. */
  readonly until?: readonly [major: number, minor: number]
}

/** Where a lane's deviations are listed. */
export const deviationFile = (lane: 'vtd' | 'amdvi'): string =>
  fileURLToPath(new URL(`${lane}/deviations.json`, import.meta.url))

/** Those of a file that QEMU of `version` has. */
export function readDeviations(file: string, version: readonly [number, number]): readonly KnownDeviation[] {
  const all = JSON.parse(readFileSync(file, 'utf8')) as readonly KnownDeviation[]
  return all.filter(({ until }) => until === undefined || isBefore(version, until))
}

const isBefore = ([major, minor]: readonly [number, number], [a, b]: readonly [number, number]): boolean =>
  major < a || (major === a && minor < b)
