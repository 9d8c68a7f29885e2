/** What a bus reaches through a Calgary: one flat table of big-endian entries, found from the bridge's table register. */
import { CALGARY_BASE } from '@iospace/iommu/hardware'
import { calgary } from '@iospace/iommu/spec'
import type { System } from '@iospace/lab'
import { type Reached, wordOf } from './tables.ts'

const { SizeCode, TableEntry, TableRegister } = calgary
/** TAR0; the others follow, for the bus of the same number on this board. */
const TABLE_REGISTER = 0x580

export function calgaryReach(system: System, requester: number): Reached[] {
  const { mmio, memory } = system.machine
  const register = CALGARY_BASE + TABLE_REGISTER + 8 * (requester >>> 8)
  const high = swapped(mmio.read32(register))
  const low = swapped(mmio.read32(register + 4))
  const table = (high & TableRegister.addressHigh) * 2 ** 20 + ((low & TableRegister.addressLow) >>> 12)
  const entries = 2 ** (SizeCode.entriesShift + (low & TableRegister.sizeMask))
  const reached: Reached[] = []
  for (let frame = 0; frame < entries / 512; frame++) {
    const byte = 4 * wordOf(system, table + frame)
    for (let index = 0; index < 512; index++) {
      const entry = memory.view.getUint32(byte + 8 * index + 4)
      const access = entry & TableEntry.rights
      if (access === 0) continue
      const upper = memory.view.getUint32(byte + 8 * index) & TableEntry.addressHigh
      reached.push({ ioPage: 512 * frame + index, mfn: upper * 2 ** 20 + (entry >>> 12), access })
    }
  }
  return reached
}

/** Registers are big-endian; the bus moves bytes. */
const swapped = (value: number): number =>
  ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)
