/** A fault record in words. */
import { hexWords } from '../dma.ts'

/** A fault record as the unit shows it: page address and upper quadword as words. */
export type FaultWords = readonly [lo: number, hi: number, source: number, top: number]

/** Word 3 of a record: bits 59:40 of the upper quadword, a PASID, which means nothing while the record's PP bit is 0. */
const PASID = 0x0fff_ff00
const PASID_TEXT = ' with a PASID'

/** Status and record; that a PASID is there, but not which. */
export function describeFaults(status: number, record: FaultWords | null): string {
  if (record === null) return `status ${status}, no record`
  const [lo, hi, source, top] = record
  const pasid = (top & PASID) === 0 ? '' : PASID_TEXT
  return `status ${status}, record ${hexWords([lo, hi, source, (top & ~PASID) >>> 0])}${pasid}`
}

export const hasPasid = (told: string): boolean => told.includes(PASID_TEXT)
export const withoutPasid = (told: string): string => told.replaceAll(PASID_TEXT, '')

/** The reason of the first record that `told` has, 0 without one. */
export function reasonOf(told: string): number {
  const top = /record (?:0x[0-9a-f]+ ){3}0x([0-9a-f]+)/.exec(told.split(', then ')[0]!)?.[1]
  return top === undefined ? 0 : parseInt(top, 16) & 0xff
}
