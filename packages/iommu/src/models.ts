/** Every IOMMU by name: its personalities, its hardware, its driver. To add one: its folder, and one line here. */
import type { DmaTranslator, Machine } from '@iospace/machine'
import { AmdviDriver } from './amdvi/driver.ts'
import { findUnit } from './amdvi/driver/find-unit.ts'
import { AMDVI_BASE, AmdviHardware } from './amdvi/hardware.ts'
import { amdviPersonalities, DEFAULT_AMDVI, type AmdviPersonality } from './amdvi/personalities.ts'
import { REGISTER_BYTES as AMDVI_REGISTER_BYTES } from './amdvi/spec/registers.ts'
import { GartDriver } from './gart/driver.ts'
import { findNodes } from './gart/driver/find-nodes.ts'
import { GartHardware, type GartHardwareOptions } from './gart/hardware.ts'
import { DEFAULT_GART, gartPersonalities, type GartPersonality } from './gart/personalities.ts'
import { northbridgeBdf } from './gart/spec/northbridge.ts'
import { APERTURE_BASE_SHIFT, ApertureControl, Register as GartRegister } from './gart/spec/registers.ts'
import { CALGARY_BASE, CalgaryChassis, type CalgaryChassisOptions } from './calgary/chassis.ts'
import { CalgaryDriver } from './calgary/driver.ts'
import { calgaryPersonalities, DEFAULT_CALGARY, type CalgaryPersonality } from './calgary/personalities.ts'
import { BRIDGES_PER_CHIP } from './calgary/spec/pci.ts'
import { REGISTER_BYTES as CALGARY_REGISTER_BYTES } from './calgary/spec/registers.ts'
import type { IommuDriver } from './iommu-driver.ts'
import { MachinePort } from './machine-port.ts'
import type { StaleHitHandler } from './stale-hit.ts'
import { VtdDriver } from './vtd/driver.ts'
import { VTD_BASE, VtdHardware, type VtdHardwareOptions } from './vtd/hardware.ts'
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
  calgary: {
    personalities: Object.keys(calgaryPersonalities),
    defaultPersonality: DEFAULT_CALGARY,
    install: (machine, personality = DEFAULT_CALGARY) =>
      installCalgary(machine, (calgaryPersonalities as Record<string, CalgaryPersonality>)[personality]!),
    driver: calgaryDriver,
  },
  gart: {
    personalities: Object.keys(gartPersonalities),
    defaultPersonality: DEFAULT_GART,
    install: (machine, personality = DEFAULT_GART) =>
      installGart(machine, (gartPersonalities as Record<string, GartPersonality>)[personality]!),
    driver: gartDriver,
  },
}

/** Puts a VT-d unit into `machine`. */
export function installVtd(
  machine: Machine,
  personality: VtdPersonality,
  options: VtdHardwareOptions = {},
): VtdHardware {
  const hardware = new VtdHardware(machine, personality, options)
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

/** Where boards have an AMD-Vi unit's function: 00:00.2. */
const AMDVI_FUNCTION = 0x02

/** Puts an AMD-Vi unit into `machine`, its PCI function on bus 0 at `devfn` or the next that is free. */
export function installAmdvi(
  machine: Machine,
  personality: AmdviPersonality,
  devfn: number = AMDVI_FUNCTION,
): AmdviHardware {
  const hardware = new AmdviHardware(machine, personality)
  machine.mmio.map(AMDVI_BASE, AMDVI_REGISTER_BYTES, hardware)
  machine.pci.translator = hardware.translator
  let slot = devfn
  while (machine.pci.at(slot) !== undefined) slot++
  machine.pci.add(0, slot, hardware.function)
  amdviUnits.set(hardware.translator, hardware)
  return hardware
}

function amdviDriver(machine: Machine, pages: TablePages): AmdviDriver {
  const hardware = amdviUnits.get(machine.pci.translator)
  const unit = findUnit(machine.pci)
  if (hardware === undefined || unit === null) throw new StateError('AMD-Vi unit', 'is not in this machine')
  const port = new MachinePort(machine, { ...pages, coherent: false })
  hardware.onCoherent = (coherent) => (port.coherent = coherent)
  const buses = machine.pci.functions().map(({ bdf, requester }) => Math.max(bdf, requester) >> 8)
  return new AmdviDriver(port, {
    ...unit,
    requesters: (Math.max(0, ...buses) + 1) << 8,
  })
}

/** The Calgary chips that were installed, by what stands between devices and memory. */
const calgaryUnits = new WeakMap<DmaTranslator, CalgaryChassis>()

/** Puts Calgary chips into `machine`: as many as give each bus that is there by now a bridge of its own. Later buses share the last one. */
export function installCalgary(
  machine: Machine,
  personality: CalgaryPersonality,
  options: CalgaryChassisOptions = {},
): CalgaryChassis {
  const lastBus = Math.max(0, ...machine.pci.functions().map(({ bdf, requester }) => Math.max(bdf, requester) >> 8))
  const chassis = new CalgaryChassis(machine, personality, {
    chips: Math.floor(lastBus / BRIDGES_PER_CHIP) + 1,
    ...options,
  })
  chassis.chips.forEach((chip, index) => machine.mmio.map(calgaryChip(index), CALGARY_REGISTER_BYTES, chip))
  machine.pci.translator = chassis.translator
  calgaryUnits.set(chassis.translator, chassis)
  return chassis
}

function calgaryDriver(machine: Machine, pages: TablePages): CalgaryDriver {
  const chassis = calgaryUnits.get(machine.pci.translator)
  if (chassis === undefined) throw new StateError('Calgary chip', 'is not in this machine')
  return new CalgaryDriver(new MachinePort(machine, { ...pages, coherent: false }), {
    chips: chassis.chips.map((_, index) => calgaryChip(index)),
    deviceId: chassis.personality.deviceId,
  })
}

function calgaryChip(index: number): number {
  return CALGARY_BASE + index * CALGARY_REGISTER_BYTES
}

/** Where firmware puts the aperture: at the start of the hole below 4 GiB, behind the last RAM that may be, before the first BAR. */
export const GART_APERTURE = 0xc000_0000
/** 64 MiB, as Linux has it at least. */
const GART_ORDER = 1

export interface GartBoardOptions extends GartHardwareOptions {
  /** Size of the aperture, 32 MiB << order: up to 4 (512 MiB) it fits where firmware puts it. Default: 1. */
  readonly order?: number
}

/** The GARTs that were installed, by what stands between devices and memory. */
const gartUnits = new WeakMap<DmaTranslator, GartHardware>()

/** Puts the northbridges of a GART onto the root bus of `machine`, device 24 for node 0, their apertures placed as firmware does. */
export function installGart(
  machine: Machine,
  personality: GartPersonality,
  { order = GART_ORDER, ...options }: GartBoardOptions = {},
): GartHardware {
  const hardware = new GartHardware(machine, personality, options)
  hardware.nodes.forEach((node, index) => {
    machine.pci.add(0, northbridgeBdf(index), node)
    node.configWrite(GartRegister.apertureControl, 4, order << ApertureControl.orderShift)
    node.configWrite(GartRegister.apertureBase, 4, GART_APERTURE >>> APERTURE_BASE_SHIFT)
  })
  machine.pci.translator = hardware
  gartUnits.set(hardware, hardware)
  return hardware
}

function gartDriver(machine: Machine, pages: TablePages): GartDriver {
  const hardware = gartUnits.get(machine.pci.translator)
  if (hardware === undefined) throw new StateError('GART', 'is not in this machine')
  const port = new MachinePort(machine, { ...pages, coherent: true })
  hardware.onCoherent = (coherent) => (port.coherent = coherent)
  return new GartDriver(port, {
    nodes: findNodes(machine.pci),
    config: machine.pci,
    ramEnd: machine.memory.lowFrames * 4096,
  })
}
