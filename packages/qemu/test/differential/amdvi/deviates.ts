/** Deviations of QEMU's AMD-Vi unit that {@link ExpectedAmdvi} can show, each described in `deviations.json`. */
export const DEVIATIONS = [
  'bus-is-lost',
  'pages-by-requester',
  'passing-is-cached',
  'address-wraps',
  'refused-pages-are-cached',
  'large-page-covers-the-rest',
  'entries-are-not-cached',
  'table-length-is-ignored',
  'invalid-entry-is-checked',
  'interrupt-half-is-checked',
  'more-bits-are-checked',
  'untranslated-passes',
  'absent-leaf-translates',
  'reserved-bits-are-ignored',
  'any-size-anywhere',
  'rights-of-the-leaf-alone',
  'levels-may-rise',
  'skipped-bits-are-ignored',
  'pages-in-4k',
  'cached-rights-are-final',
  'high-bits-meet-the-requester',
  'whole-domain-is-dropped',
  'illegal-commands-are-skipped',
] as const

export type DeviationId = (typeof DEVIATIONS)[number]

/** Whether a deviation is switched on. */
export type Deviates = (id: DeviationId) => boolean

/** A description of one of {@link DEVIATIONS}. An error for any other. */
export function isDeviation({ id }: { readonly id: string }): boolean {
  if ((DEVIATIONS as readonly string[]).includes(id)) return true
  throw new Error(`no such deviation: ${id}`)
}
