/**
 * What devices reach, read from the tables in machine memory by the specification's formats and by nothing else: not by the walk that
 * the hardware uses, and not by the driver's own notes.
 */
import { vtd } from '@iospace/iommu/spec'
import type { System } from '@iospace/lab'
import { PciBridge, type PciFunction } from '@iospace/machine'

/** One page that a device reaches. */
export interface Reached {
  readonly ioPage: number
  readonly mfn: number
  /** 1 read, 2 write. */
  readonly access: number
}

const { RootEntry, ContextEntry, PageEntry } = vtd

/** Every function but bridges. */
export const functionsOf = (system: System): PciFunction[] =>
  system.machine.pci.functions().filter((each) => !(each instanceof PciBridge))

/** Frame of the root table, which stays where it is. */
export function rootOf(system: System): number {
  const [root] = system.hypervisor.oracle.iommuFrames()
  if (root === undefined) throw new Error('there is no IOMMU')
  return root
}

/** What requests of `requester` reach now; nothing where it is blocked. Not for machines without an IOMMU. */
export function reachOf(system: System, requester: number, root: number = rootOf(system)): Reached[] {
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

function wordOf({ machine: { memory } }: System, mfn: number): number {
  const offset = memory.frameOffset(mfn)
  if (!(offset >= 0)) throw new Error(`a table lies at frame 0x${mfn.toString(16)}, where there is no RAM`)
  return offset / 4
}

const frameIn = (low: number, high: number): number => (high & PageEntry.addressHigh) * 2 ** 20 + (low >>> 12)
