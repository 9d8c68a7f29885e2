import { EduDevice } from '@iospace/devices'
import { MachinePort, type MachinePortOptions } from '@iospace/iommu/driver'
import { AMDVI_BASE, amdviPersonalities, installAmdvi, VTD_BASE, VtdHardware } from '@iospace/iommu/hardware'
import type { AmdviPersonality } from '@iospace/iommu/hardware'
import { vtdPersonalities, type VtdHardwareOptions, type VtdPersonality } from '@iospace/iommu/hardware'
import { vtd } from '@iospace/iommu/spec'
import { Count, Machine, PAGE_SIZE, type MachineMemory } from '@iospace/machine'
import { FrameReserve, openEdu, type EduDriver, type TablePages } from '../../src/index.ts'
import { BOARD_MEBIBYTES, EDU_BAR, EDU_FUNCTIONS, ROOT_PORT, type Board, type BoardMemory } from './board.ts'

/** Where QEMU puts the AMD-Vi unit's own function. */
const AMDVI_FUNCTION = 0x08
/** As on QEMU's board, where `dmaMask` says so: the edu devices reach everything. */
const EDU_ADDRESSES = 2n ** 64n - 1n
/** Longer than anything of the board takes, in units of a pause (40 ns). */
const SETTLE = 200

/** A machine with the root port and the edu devices, before an IOMMU is put into it. */
function newMachine(): Machine {
  const lowFrames = (BOARD_MEBIBYTES << 20) / PAGE_SIZE
  return new Machine({
    memory: { lowFrames, highFrames: 0, boardBytes: 1 << 20 },
    seed: 1,
    turn: () => Promise.resolve(),
  })
}

/** Our board with a VT-d unit of QEMU's `addressBits`; `changes` are to its personality and options. */
export function ownBoard(
  addressBits: 39 | 48,
  changes: Partial<VtdPersonality> & VtdHardwareOptions = {},
): OwnBoard & { readonly personality: VtdPersonality } {
  const personality: VtdPersonality = { ...vtdPersonalities[`qemu${addressBits}`], ...changes }
  const machine = newMachine()
  const hardware = new VtdHardware(machine, personality, changes)
  machine.mmio.map(VTD_BASE, vtd.REGISTER_BYTES, hardware)
  machine.pci.translator = hardware
  const { coherent } = personality.capabilities
  const port = (pages: TablePages) => new MachinePort(machine, { ...reserve(machine, pages), coherent })
  return { ...boardOf(machine, `ours${addressBits}`, 'vtd', VTD_BASE, port), personality }
}

/** Our board with an AMD-Vi unit like QEMU's; `changes` are to its personality. */
export function ownAmdBoard(
  changes: Partial<AmdviPersonality> = {},
): OwnBoard & { readonly personality: AmdviPersonality } {
  const machine = newMachine()
  const personality: AmdviPersonality = { ...amdviPersonalities.qemu, ...changes }
  const hardware = installAmdvi(machine, personality, AMDVI_FUNCTION)
  const driverPort = (pages: TablePages) => {
    const port = new MachinePort(machine, { ...reserve(machine, pages), coherent: false })
    hardware.onCoherent = (coherent) => (port.coherent = coherent)
    return port
  }
  return { ...boardOf(machine, 'oursAmd', 'amdvi', AMDVI_BASE, driverPort), personality }
}

type OwnBoard = Board & { readonly machine: Machine }

function boardOf(
  machine: Machine,
  name: Board['name'],
  kind: Board['kind'],
  unit: number,
  driverPort: Board['driverPort'],
): OwnBoard {
  const { clock, memory, mmio, pci } = machine
  const bus = pci.addBridge(0, ROOT_PORT & 0xff, 'root-port')
  pci.configWrite(ROOT_PORT, 0x04, 2, 0x6)
  const devices = new Map<number, EduDriver>()
  EDU_FUNCTIONS.forEach((bdf, i) => {
    pci.add(bdf > 0xff ? bus : 0, bdf & 0xff, new EduDevice({ machine, dmaMask: EDU_ADDRESSES, dmaTime: 0 }))
    devices.set(bdf, openEdu(pci, mmio, bdf, EDU_BAR + i * 0x10_0000))
  })
  return {
    name,
    kind,
    unit,
    machine,
    memory: flatMemory(memory),
    mmio,
    pci,
    devices,
    driverPort,
    interrupts: (vector) => machine.interrupts.received[vector]!,
    settle: () => clock.charge(Count.relax, SETTLE),
    [Symbol.dispose]: () => {},
  }
}

function reserve({ memory }: Machine, pages: TablePages): Omit<MachinePortOptions, 'coherent'> {
  const frames = new FrameReserve(pages)
  const allocateRun = (order: number) => {
    const first = frames.take(2 ** order)
    if (first >= 0) memory.fill(memory.frameOffset(first), 0, PAGE_SIZE * 2 ** order)
    return first
  }
  return { allocatePage: () => allocateRun(0), allocateRun, freePage: (mfn) => frames.give(mfn) }
}

/** The board's RAM lies at the start of its flat memory. */
function flatMemory({ bytes, view, fill, lowFrames }: MachineMemory): BoardMemory {
  return {
    bytes: lowFrames * PAGE_SIZE,
    read: (address, length) => bytes.slice(address, address + length),
    write: (address, source) => bytes.set(source, address),
    fill,
    readU32: (address) => view.getUint32(address, true),
    writeU32: (address, value) => view.setUint32(address, value, true),
    readU64: (address) => view.getBigUint64(address, true),
    writeU64: (address, value) => view.setBigUint64(address, value, true),
  }
}
