/** Every IOMMU by name: its personalities, its hardware, its driver. To add one: its folder, and one line here. */
import type { DmaTranslator, Machine } from '@iospace/machine'
import { AmdviDriver } from './amdvi/driver.ts'
import { AMDVI_BASE, AmdviHardware } from './amdvi/hardware.ts'
import { amdviPersonalities, DEFAULT_AMDVI, type AmdviPersonality } from './amdvi/personalities.ts'
import { REGISTER_BYTES as AMDVI_REGISTER_BYTES } from './amdvi/spec/registers.ts'
import type { IommuDriver } from './iommu-driver.ts'
import { MachinePort } from './machine-port.ts'
import type { StaleHitHandler } from './stale-hit.ts'
import { VtdDriver } from './vtd/driver.ts'
import { VTD_BASE, VtdHardware } from './vtd/hardware.ts'
import { DEFAULT_VTD, vtdPersonalities, type VtdPersonality } from './vtd/personalities.ts'
import { ExtendedCapability } from './vtd/spec/capabilities.ts'
import { Register, REGISTER_BYTES } from './vtd/spec/registers.ts'
import { StateError } from '@iospace/wire'

/** The driver's reserve of table pages: zeroed frames. */
export interface TablePages {
  /** A zeroed frame, −1 when the reserve is empty. */
  readonly allocatePage: () => number
  /** The first of 2^`order` consecutive zeroed frames, −1 when there are none; they come back one by one. */
  readonly allocateRun?: (order: number) => number
  readonly freePage: (mfn: number) => void
}

/** A unit in a machine, whatever its kind. */
export interface IommuUnit {
  /** What stands between devices and memory. */
  readonly translator: DmaTranslator
  /** Told of every access that a cache served although memory no longer grants it; see stale-hit.ts. */
  onStaleHit: StaleHitHandler | null
}

export interface IommuModel {
  readonly personalities: readonly string[]
  readonly defaultPersonality: string
  /** Puts a unit of `personality` into `machine`: between its PCI root and memory, and on its register bus. */
  install(machine: Machine, personality?: string): IommuUnit
  /** A driver for the unit that {@link install} put there. */
  driver(machine: Machine, pages: TablePages): IommuDriver
}

export const iommuModels: Readonly<Record<string, IommuModel>> = {
  vtd: {
    personalities: Object.keys(vtdPersonalities),
    defaultPersonality: DEFAULT_VTD,
    install: (machine, personality = DEFAULT_VTD) =>
      installVtd(machine, (vtdPersonalities as Record<string, VtdPersonality>)[personality]!),
    driver: vtdDriver,
  },
  amdvi: {
    personalities: Object.keys(amdviPersonalities),
    defaultPersonality: DEFAULT_AMDVI,
    install: (machine, personality = DEFAULT_AMDVI) =>
      installAmdvi(machine, (amdviPersonalities as Record<string, AmdviPersonality>)[personality]!),
    driver: amdviDriver,
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

/** The AMD-Vi units that were installed, by what stands between devices and memory. */
const amdviUnits = new WeakMap<DmaTranslator, AmdviHardware>()

/** Puts an AMD-Vi unit into `machine`; its PCI function is for the board to place. */
export function installAmdvi(machine: Machine, personality: AmdviPersonality): AmdviHardware {
  const hardware = new AmdviHardware(machine, personality)
  machine.mmio.map(AMDVI_BASE, AMDVI_REGISTER_BYTES, hardware)
  machine.pci.translator = hardware.translator
  amdviUnits.set(hardware.translator, hardware)
  return hardware
}

function amdviDriver(machine: Machine, pages: TablePages): AmdviDriver {
  const hardware = amdviUnits.get(machine.pci.translator)
  if (hardware === undefined) throw new StateError('AMD-Vi unit', 'is not in this machine')
  const port = new MachinePort(machine, { ...pages, coherent: false })
  hardware.onCoherent = (coherent) => (port.coherent = coherent)
  const buses = machine.pci.functions().map(({ bdf, requester }) => Math.max(bdf, requester) >> 8)
  return new AmdviDriver(port, {
    base: AMDVI_BASE,
    requesters: (Math.max(0, ...buses) + 1) << 8,
    npCache: hardware.personality.npCache,
    setMessage: (addressLow, data) => hardware.function.setMessage(addressLow, data),
  })
}
