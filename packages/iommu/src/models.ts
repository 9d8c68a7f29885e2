/** Every IOMMU by name: its personalities, its hardware, its driver. To add one: its folder, and one line here. */
import type { DmaTranslator, Machine } from '@iospace/machine'
import type { IommuDriver } from './iommu-driver.ts'
import { MachinePort } from './machine-port.ts'
import { VtdDriver } from './vtd/driver.ts'
import { VTD_BASE, VtdHardware } from './vtd/hardware.ts'
import { DEFAULT_VTD, vtdPersonalities, type VtdPersonality } from './vtd/personalities.ts'
import { ExtendedCapability } from './vtd/spec/capabilities.ts'
import { Register, REGISTER_BYTES } from './vtd/spec/registers.ts'

/** The driver's reserve of table pages: zeroed frames. */
export interface TablePages {
  /** A zeroed frame, −1 when the reserve is empty. */
  readonly allocatePage: () => number
  readonly freePage: (mfn: number) => void
}

export interface IommuModel {
  readonly personalities: readonly string[]
  readonly defaultPersonality: string
  /** Puts a unit of `personality` into `machine`: between its PCI root and memory, and on its register bus. */
  install(machine: Machine, personality?: string): DmaTranslator
  /** A driver for the unit that {@link install} put there. */
  driver(machine: Machine, pages: TablePages): IommuDriver
}

export const iommuModels: Readonly<Record<string, IommuModel>> = {
  vtd: {
    personalities: Object.keys(vtdPersonalities),
    defaultPersonality: DEFAULT_VTD,
    install: (machine, personality = DEFAULT_VTD) => installVtd(machine, (vtdPersonalities as Record<string, VtdPersonality>)[personality]!),
    driver: vtdDriver,
  },
}

/** Puts a VT-d unit into `machine`. */
export function installVtd(machine: Machine, personality: VtdPersonality): VtdHardware {
  const hardware = new VtdHardware(machine, personality)
  machine.mmio.map(VTD_BASE, REGISTER_BYTES, hardware)
  machine.pci.translator = hardware
  return hardware
}

function vtdDriver(machine: Machine, pages: TablePages): VtdDriver {
  const coherent = (machine.mmio.read32(VTD_BASE + Register.extendedCapability) & ExtendedCapability.coherent) !== 0
  const port = new MachinePort(machine, { ...pages, coherent })
  return new VtdDriver(port, { base: VTD_BASE })
}
