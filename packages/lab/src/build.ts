/** From a description to a machine with domains on it, ready to run. Programs, files and the host's turn are arguments. */
import { NVME_BOARD_BYTES, NvmeController, ROGUE_BOARD_BYTES, RogueDevice, type BlockStore } from '@iospace/devices'
import { Hypervisor, type DomainView } from '@iospace/hypervisor'
import { iommuModels } from '@iospace/iommu/hardware'
import { bootKernel, type Kernel } from '@iospace/linux'
import { Machine, type PciFunction, type TraceSink } from '@iospace/machine'
import { ConfigError } from '@iospace/wire'
import { domainPlatform } from './adapt/platform.ts'
import { commandLineOf, deviceSbdf, type DeviceDescription, type SystemDescription } from './describe.ts'
import { System } from './system.ts'

/** What runs in a domain: ends when its work is done. */
export type Program = (kernel: Kernel) => Promise<void>

/** What a description names and does not hold. */
export interface SystemPorts {
  /** By the names that `init=` has. */
  readonly programs: Readonly<Record<string, Program>>
  /** By the names that devices of the description have for them. */
  readonly stores: Readonly<Record<string, BlockStore>>
  /** One macrotask of the host: see `messageTurn`. */
  readonly turn: () => Promise<void>
  readonly trace?: TraceSink
  /** Lines that kernels write to their console. */
  readonly onConsole?: (domain: string, text: string) => void
}

const FRAMES_PER_MIB = 256
/** Board memory of a bridge and of one device's interrupt messages. */
const MESSAGE_BYTES = 4096

/** Builds the board, switches the hypervisor on and makes dom0; nothing has run yet. ConfigError where the description does not fit. */
export function buildSystem(description: SystemDescription, ports: SystemPorts): System {
  const { seed, memory, iommu, devices, dom0, timeLimit, hangLimit } = description
  const machine = new Machine({
    memory: {
      lowFrames: memory.lowMiB * FRAMES_PER_MIB,
      highFrames: memory.highMiB * FRAMES_PER_MIB,
      // Besides the devices' the IOMMU's own function, where it has one.
      boardBytes: devices.reduce((sum, device) => sum + boardBytes(device) + 2 * MESSAGE_BYTES, MESSAGE_BYTES),
    },
    seed,
    turn: ports.turn,
    ...(timeLimit === undefined ? {} : { timeLimit }),
    ...(hangLimit === undefined ? {} : { hangLimit }),
  })
  if (ports.trace !== undefined) machine.trace = ports.trace
  const functions = new Map<string, PciFunction>()
  devices.forEach((device, index) => {
    // A root port each, so that the IOMMU tells every device apart.
    const bus = machine.pci.addBridge(0, (index + 1) << 3, 'root-port')
    if (bus << 8 !== deviceSbdf(index))
      throw new ConfigError('device', device.name, 'is not on the bus that was meant for it')
    functions.set(device.name, machine.pci.add(bus, 0, makeDevice(machine, device, ports.stores)))
  })
  const model = iommu === 'none' ? null : iommuModels[iommu]
  if (model === undefined) throw new ConfigError('iommu', iommu, 'is not an IOMMU that there is')
  if (model !== null && !model.personalities.includes(description.personality ?? model.defaultPersonality))
    throw new ConfigError('personality', description.personality, `is not one of ${model.personalities.join(', ')}`)
  const unit = model?.install(machine, description.personality) ?? null
  const system = new System(description, machine, unit, functions)
  const hypervisor = new Hypervisor({
    machine,
    iommu: model === null ? null : (pages) => model.driver(machine, pages),
    boot: (view) => startKernel(system, view, ports.programs),
    onCrash: (domid, error) => system.noteCrash(domid, error),
    nameOf: (domid, handle) => (domid === 0 ? 'dom0' : nameOf(handle)),
    console: (domid, text) => ports.onConsole?.(system.nameOf(domid), new TextDecoder().decode(text)),
  })
  system.start(hypervisor)
  hypervisor.createDom0({
    pages: dom0.memoryMiB * FRAMES_PER_MIB,
    commandLine: commandLineOf(dom0.program, dom0.commandLine),
  })
  return system
}

function boardBytes(device: DeviceDescription): number {
  return device.kind === 'nvme' ? NVME_BOARD_BYTES : ROGUE_BOARD_BYTES
}

function makeDevice(machine: Machine, device: DeviceDescription, stores: SystemPorts['stores']): PciFunction {
  if (device.kind === 'rogue') return new RogueDevice({ machine })
  const store = stores[device.store]
  if (store === undefined) throw new ConfigError('store', device.store, 'is not among the files that were handed in')
  return new NvmeController({ machine, store })
}

/** Starts a domain over its view, as a task of its own: boots a kernel and runs the program that its command line names. */
function startKernel(system: System, view: DomainView, programs: SystemPorts['programs']): void {
  view.tasks.spawn(`${view.name}/init`, async () => {
    const kernel = bootKernel(domainPlatform(view, view.name))
    const init = kernel.commandLine.init ?? ''
    const program = programs[init]
    if (program === undefined) throw new ConfigError('init', init, 'is not a program that was handed in')
    await program(kernel)
    await kernel.shutdown()
  })
  system.noteBoot(view.domid, view.name)
}

/** The builder writes a domain's name where Xen has a UUID. */
function nameOf(handle: Uint8Array): string {
  const end = handle.indexOf(0)
  return String.fromCharCode(...handle.subarray(0, end < 0 ? handle.length : end))
}
