/** QEMU's known deviations: data, in `vtd/deviations.json` and `amdvi/deviations.json`, so that what is let through can be read. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { QemuVersion } from '../../src/index.ts'

export interface KnownDeviation {
  readonly id: string
  readonly reason: string
  /** Where it is written, in the facts or in the specification. */
  readonly reference: string
  /** The versions of QEMU that have it, as measured: from one of a pair on, below the other. All, where this is not given. */
  readonly versions?: readonly (readonly [from: QemuVersion, until: QemuVersion])[]
}

/** Where a lane's deviations are listed. */
export const deviationFile = (lane: 'vtd' | 'amdvi'): string =>
  fileURLToPath(new URL(`${lane}/deviations.json`, import.meta.url))

/** All of a file. */
export const readDeviations = (file: string): readonly KnownDeviation[] =>
  JSON.parse(readFileSync(file, 'utf8')) as readonly KnownDeviation[]

/** Those of a file that QEMU of `version` has. */
export const deviationsOf = (file: string, version: QemuVersion): readonly KnownDeviation[] =>
  readDeviations(file).filter(
    ({ versions }) => versions?.some(([from, until]) => !isBefore(version, from) && isBefore(version, until)) ?? true,
  )

const isBefore = (version: QemuVersion, other: QemuVersion): boolean => {
  const at = version.findIndex((number, i) => number !== other[i])
  return at >= 0 && version[at]! < other[at]!
}
