/** What real Xen 4.17 answered (`data/xen-answers.json` says how): a row by name. Rows of a machine with VT-d stand over those without. */
import data from './data/xen-answers.json' with { type: 'json' }

const PLAIN: Readonly<Record<string, number | string>> = data['no-iommu']
const VTD: Readonly<Record<string, number | string>> = { ...PLAIN, ...data.vtd }

export function answer(row: string, machine: 'no-iommu' | 'vtd' = 'no-iommu'): number {
  const value = (machine === 'vtd' ? VTD : PLAIN)[row]
  if (value === undefined) throw new Error(`no row ${row}`)
  return Number(value)
}
