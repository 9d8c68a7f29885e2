/** A system as plain data: what is on the board, and which domains run on it. Nothing here runs anything. */
import { DEFAULT_LIMITS, type DiskAttachment, type DomainPlan, type IommuLimits } from '@iospace/toolstack'
import type { IommuKind } from '@iospace/iommu/driver'
import { ConfigError } from '@iospace/wire'

export interface NvmeDescription {
  readonly kind: 'nvme'
  /** How domains of the description name it. */
  readonly name: string
  /** Name of the file that is its namespace: a port that the builder gets. */
  readonly store: string
}

export interface RogueDescription {
  readonly kind: 'rogue'
  readonly name: string
}

export type DeviceDescription = NvmeDescription | RogueDescription

export interface DomainDescription {
  readonly name: string
  /** Name of the program that its kernel runs. */
  readonly program: string
  readonly memoryMiB: number
  /** Words for its kernel, besides `init=`. */
  readonly commandLine?: string
  /** Names of the devices that it gets. */
  readonly devices?: readonly string[]
  readonly disks?: readonly DiskAttachment[]
  readonly limits?: Partial<IommuLimits>
  /** It serves others and ends after them. */
  readonly service?: boolean
  /** The control domain lends it a page by grant. */
  readonly borrows?: boolean
}

export interface SystemDescription {
  /** Chooses the order of tasks, latencies, and where frames lie. */
  readonly seed: number
  /** RAM below the PCI hole, and from 4 GiB up. */
  readonly memory: { readonly lowMiB: number; readonly highMiB: number }
  readonly iommu: IommuKind
  /** Which of its personalities; default: the model's own. */
  readonly personality?: string
  readonly devices: readonly DeviceDescription[]
  readonly dom0: { readonly program: string; readonly memoryMiB: number; readonly commandLine?: string }
  readonly domains: readonly DomainDescription[]
  /** Virtual ns after which a run is given up. Default: never. */
  readonly timeLimit?: number
  /** Virtual ns that a task may run without waiting. */
  readonly hangLimit?: number
}

const MIB_PAGES = 256

/** Where device `index` of a description sits: alone behind a root port of its own, so that it is a group of its own. */
export const deviceSbdf = (index: number): number => (index + 1) << 8

/** Machine address of the device `name`. ConfigError when there is none. */
export function sbdfOf(description: SystemDescription, name: string): number {
  const index = description.devices.findIndex((device) => device.name === name)
  if (index < 0) throw new ConfigError('device', name, 'is not on the board')
  return deviceSbdf(index)
}

/** What the control domain has to set up for a description. ConfigError where the description does not fit together. */
export function planOf(description: SystemDescription): DomainPlan[] {
  const taken = new Set<string>()
  const known = new Set<string>()
  return description.domains.map((domain) => {
    const { name, devices = [], disks = [], limits, service = false, borrows = false } = domain
    if (known.has(name)) throw new ConfigError('domain', name, 'is described twice')
    known.add(name)
    for (const device of devices) {
      if (taken.has(device)) throw new ConfigError('device', device, 'is given to two domains')
      taken.add(device)
    }
    for (const { backend } of disks) {
      if (backend === name || !known.has(backend))
        throw new ConfigError('backend', backend, 'is not a domain described earlier')
    }
    return {
      name,
      pages: domain.memoryMiB * MIB_PAGES,
      commandLine: commandLineOf(domain.program, domain.commandLine),
      limits: { ...DEFAULT_LIMITS, ...limits },
      devices: devices.map((device) => ({ sbdf: sbdfOf(description, device), name: sbdfOf(description, device) })),
      disks,
      service,
      borrows,
    }
  })
}

/** The kernel command line that names `program`. */
export const commandLineOf = (program: string, rest = ''): string => `init=${program}${rest === '' ? '' : ` ${rest}`}`
