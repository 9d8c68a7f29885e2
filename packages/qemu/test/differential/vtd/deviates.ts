/** Deviations of QEMU's VT-d unit that {@link ExpectedVtd} can show, each described in `deviations.json`. */
export const DEVIATIONS = [
  'pasid-without-pp',
  'all-ones-entry',
  'reserved-context-is-never-silent',
  'cached-rights-are-final',
  'window-by-page',
  'large-page-covers-the-rest',
  'translations-before-contexts',
  'translations-by-source',
  'domain-contexts-are-global',
  'device-contexts-whatever-domain',
  'pass-through-ahead',
  'unadvertised-descriptors',
  'plain-wait-is-refused',
  'eight-bit-page-mask',
  'invalidations-reach-beyond',
] as const

export type DeviationId = (typeof DEVIATIONS)[number]

/** Whether a deviation is switched on. */
export type Deviates = (id: DeviationId) => boolean

/** A description of one of {@link DEVIATIONS}. An error for any other. */
export function isDeviation({ id }: { readonly id: string }): boolean {
  if ((DEVIATIONS as readonly string[]).includes(id)) return true
  throw new Error(`no such deviation: ${id}`)
}
