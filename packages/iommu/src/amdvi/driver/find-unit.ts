/**
 * How software without ACPI tables finds a unit: by the class of its PCI function and the capability block in it (facts B.1), which tells
 * what no register does. IVRS says the same again.
 */
import { Capability, Config, Msi } from '@iospace/machine'
import {
  BASE_ENABLE,
  CapabilityHeader,
  CapabilityWord,
  FUNCTION_IDS,
  IOMMU_CAPABILITY,
} from '../spec/pci-capability.ts'
import type { ConfigAccess } from '../../config-access.ts'
import type { AmdviDriverOptions } from './unit.ts'

/** What a driver is to be told of the unit, and where its function is. */
export interface FoundUnit extends Required<Pick<AmdviDriverOptions, 'base' | 'npCache' | 'setMessage'>> {
  readonly bdf: number
}

const FUNCTIONS = 256
const ALIGNED = 0xfc
/** As many as fit: a list of more goes round. */
const MOST_CAPABILITIES = 48
/** Type of a capability block, header 18:16, from bit 16. */
const TYPE_MASK = 0x7

/** The unit on bus 0, where nothing that can be plugged in is; null: there is none, or firmware did not enable its registers. */
export function findUnit(config: ConfigAccess): FoundUnit | null {
  for (let bdf = 0; bdf < FUNCTIONS; bdf++) {
    if (config.configRead(bdf, Config.revision, 4) >>> 8 !== FUNCTION_IDS.classCode) continue
    const at = findCapability(config, bdf, IOMMU_CAPABILITY)
    if (at === 0) continue
    const header = config.configRead(bdf, at + 2, 2)
    const low = config.configRead(bdf, at + CapabilityWord.baseLow, 4)
    if ((header & TYPE_MASK) !== CapabilityHeader.type || (low & BASE_ENABLE) === 0) continue
    const high = config.configRead(bdf, at + CapabilityWord.baseHigh, 4)
    return {
      bdf,
      base: high * 0x1_0000_0000 + low - BASE_ENABLE,
      npCache: (header & CapabilityHeader.npCache) !== 0,
      setMessage: (addressLow, data) => setMessage(config, bdf, addressLow, data),
    }
  }
  return null
}

/** Programs and enables the MSI of the unit's function, with the 64-bit address that every unit's has. */
function setMessage(config: ConfigAccess, bdf: number, addressLow: number, data: number): void {
  const at = findCapability(config, bdf, Capability.msi)
  config.configWrite(bdf, at + Msi.address, 4, addressLow)
  config.configWrite(bdf, at + Msi.upperAddress, 4, 0)
  config.configWrite(bdf, at + Msi.data, 2, data)
  config.configWrite(bdf, at + Msi.control, 2, Msi.enable)
}

/** Offset of capability `id` of a function, 0 when it has none. */
function findCapability(config: ConfigAccess, bdf: number, id: number): number {
  let at = config.configRead(bdf, Config.capabilities, 1) & ALIGNED
  for (let steps = 0; at !== 0 && steps < MOST_CAPABILITIES; steps++) {
    if (config.configRead(bdf, at, 1) === id) return at
    at = config.configRead(bdf, at + 1, 1) & ALIGNED
  }
  return 0
}
