/** What a device reaches through a VT-d unit: root and context entry, tables of 3 to 5 levels. */
import { vtd } from '@iospace/iommu/spec'
import type { System } from '@iospace/lab'
import { type Reached, wordOf } from './tables.ts'

const { RootEntry, ContextEntry, PageEntry } = vtd

/** `root`: frame of the root table. */
export function vtdReach(system: System, requester: number, root: number): Reached[] {
  const rootEntry = entry(system, root, (requester >>> 8) * 2)
  if ((rootEntry.low & RootEntry.present) === 0) return []
  const at = (requester & 0xff) * 2
  const lower = entry(system, rootEntry.frame, at)
  const upper = entry(system, rootEntry.frame, at + 1)
  if ((lower.low & ContextEntry.present) === 0) return []
  const type = (lower.low >>> ContextEntry.typeShift) & ContextEntry.typeMask
  if (type !== vtd.TranslationType.untranslated)
    throw new Error(`device ${requester.toString(16)} is translated as type ${type}`)
  const reached: Reached[] = []
  collect(system, lower.frame, (upper.low & ContextEntry.widthMask) + 2, 0, PageEntry.rights, reached)
  return reached
}

function collect(system: System, table: number, level: number, first: number, rights: number, into: Reached[]): void {
  const { memory } = system.machine
  const word = wordOf(system, table)
  for (let index = 0; index < 512; index++) {
    const low = memory.words[word + 2 * index]!
    const access = rights & low
    if (access === 0) continue
    const ioPage = first + index * 512 ** (level - 1)
    const frame = frameIn(low, memory.words[word + 2 * index + 1]!)
    if (level === 1) into.push({ ioPage, mfn: frame, access })
    else if ((low & PageEntry.large) === 0) collect(system, frame, level - 1, ioPage, access, into)
    else for (let i = 0; i < 512 ** (level - 1); i++) into.push({ ioPage: ioPage + i, mfn: frame + i, access })
  }
}

/** Entry `index` of 8 bytes in frame `mfn`. */
function entry(system: System, mfn: number, index: number): { low: number; frame: number } {
  const word = wordOf(system, mfn) + 2 * index
  const { words } = system.machine.memory
  return { low: words[word]!, frame: frameIn(words[word]!, words[word + 1]!) }
}

const frameIn = (low: number, high: number): number => (high & PageEntry.addressHigh) * 2 ** 20 + (low >>> 12)
