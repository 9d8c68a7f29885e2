/** What a device reaches through an AMD-Vi unit: device table entry, tables of 1 to 6 levels, leaves of any size. */
import { amdvi } from '@iospace/iommu/spec'
import type { System } from '@iospace/lab'
import { type Reached, wordOf } from './tables.ts'

const { DEVICE_ENTRY_BYTES, DeviceEntry, NextLevel, PageEntry } = amdvi

/** `root`: first frame of the device table. */
export function amdviReach(system: System, requester: number, root: number): Reached[] {
  const { words } = system.machine.memory
  const byte = requester * DEVICE_ENTRY_BYTES
  const at = wordOf(system, root + Math.floor(byte / 4096)) + (byte % 4096) / 4
  const low = words[at]!
  const high = words[at + 1]!
  const name = `device ${requester.toString(16)}`
  if ((low & DeviceEntry.valid) === 0) throw new Error(`${name} passes unchecked`)
  if ((low & DeviceEntry.translationValid) === 0) return []
  const levels = (low >>> DeviceEntry.modeShift) & DeviceEntry.modeMask
  const rights = (high >>> DeviceEntry.rightsShift) & DeviceEntry.rightsMask
  if (levels === 0 && rights !== 0) throw new Error(`${name} is not translated`)
  const reached: Reached[] = []
  if (levels > 0) collect(system, frameIn(low, high), levels, 0, rights, reached)
  return reached
}

function collect(system: System, table: number, level: number, first: number, rights: number, into: Reached[]): void {
  const { words } = system.machine.memory
  const word = wordOf(system, table)
  for (let index = 0; index < 512; index++) {
    const low = words[word + 2 * index]!
    const high = words[word + 2 * index + 1]!
    const access = rights & (high >>> PageEntry.rightsShift)
    if ((low & PageEntry.present) === 0 || access === 0) continue
    const ioPage = first + index * 512 ** (level - 1)
    const frame = frameIn(low, high)
    const next = (low >>> PageEntry.nextShift) & PageEntry.nextMask
    if (next !== NextLevel.leaf && next !== NextLevel.sizedLeaf) {
      collect(system, frame, next, ioPage, access, into)
      continue
    }
    let pages = 512 ** (level - 1)
    // A size in the address: the lowest 0 bit above the page offset tells it.
    if (next === NextLevel.sizedLeaf) for (pages = 2; Math.floor(frame / (pages / 2)) % 2 === 1; pages *= 2);
    const base = frame - (frame % pages)
    for (let i = 0; i < pages; i++) into.push({ ioPage: ioPage - (ioPage % pages) + i, mfn: base + i, access })
  }
}

const frameIn = (low: number, high: number): number => (high & PageEntry.addressHigh) * 2 ** 20 + (low >>> 12)
