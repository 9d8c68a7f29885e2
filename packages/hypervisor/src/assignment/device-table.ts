/** Every PCI function that a domain can have (bridges and IOMMUs are the hypervisor's), the groups among them, and fencing. */
import { DriverStatus } from '@iospace/iommu/driver'
import { Command, Config, PciBridge, type PciFunction } from '@iospace/machine'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { Device } from './device.ts'
import { InterruptVectors } from './interrupts.ts'

/** Base class of every kind of bridge. */
const BRIDGE_CLASS = 0x06

/** Class code of IOMMUs: system peripheral, IOMMU, from the byte behind the revision. */
const IOMMU_CLASS = 0x08_0600
const isIommu = ({ config }: PciFunction): boolean => config.read(Config.revision, 4) >>> 8 === IOMMU_CLASS

interface Waiting {
  readonly domain: Domain
  readonly release: () => void
}

export class DeviceTable {
  readonly #core: Core
  readonly #bySbdf = new Map<number, Device>()
  readonly #waiting: Waiting[] = []
  /** Groups whose block was not confirmed. */
  readonly #unblocked = new Set<number>()
  readonly vectors: InterruptVectors

  constructor(core: Core) {
    this.#core = core
    this.vectors = new InterruptVectors(core)
    const { pci } = core.machine
    for (const fn of pci.functions()) {
      // Bridges forward what is allowed below them; who masters the bus is decided at each function.
      if (fn instanceof PciBridge) pci.configWrite(fn.bdf, Config.command, 2, Command.memory | Command.busMaster)
      // Host bridges are no devices: registers of the memory controller and of the GART are in them.
      // Nor are IOMMUs: what sends the fault interrupt is not for guests to program.
      else if (fn.config.read(Config.classCode + 2, 1) !== BRIDGE_CLASS && !isIommu(fn))
        this.#bySbdf.set(fn.bdf, new Device(fn, core.driver))
    }
  }

  /** The function at machine address `sbdf`. */
  at(sbdf: number): Device | undefined {
    return this.#bySbdf.get(sbdf)
  }

  all(): Device[] {
    return [...this.#bySbdf.values()]
  }

  /** The function that `domain` knows as virtual `sbdf`. */
  named(domain: Domain, sbdf: number): Device | undefined {
    return domain.devices.find((device) => device.virtualSbdf === sbdf)
  }

  /** Functions that the hardware cannot tell from `device`, itself included; without an IOMMU that is every one. */
  group(device: Device): Device[] {
    return this.all().filter((mate) => mate.group === device.group)
  }

  /** Functions whose requests may have come with id `requester`. */
  behind(requester: number): Device[] {
    const group = this.#core.driver?.groupOf(requester) ?? 0
    return this.all().filter((device) => device.group === group)
  }

  /** Clears bus mastering at the function itself, not through an IOMMU that may have failed; until the next reset. */
  fence(device: Device): void {
    device.fenced = true
    const { pci } = this.#core.machine
    const command = pci.configRead(device.sbdf, Config.command, 2)
    pci.configWrite(device.sbdf, Config.command, 2, command & ~Command.busMaster)
  }

  /** The unit does not answer: everything behind it is fenced. */
  fenceAll(): void {
    for (const device of this.all()) if (!device.fenced) this.fence(device)
  }

  /** Blocks the requesters of `group`; false when that is not confirmed: everything is fenced then, and it is tried again at the next reset. */
  block(group: number): boolean {
    const { driver } = this.#core
    if (driver === null || driver.block(group) === DriverStatus.ok) return true
    this.#unblocked.add(group)
    this.fenceAll()
    return false
  }

  /** The requesters of `group` were attached, and see nothing of what they saw before: no block is owed to them any more. */
  attached(group: number): void {
    this.#unblocked.delete(group)
  }

  /** True while a table may still be looked at by a requester that should not. */
  get blocksPending(): boolean {
    return this.#unblocked.size > 0
  }

  /** Runs `release` when the invalidations that failed have completed, which a reset tries. */
  afterReset(domain: Domain, release: () => void): void {
    this.#waiting.push({ domain, release })
  }

  /** Lets go of everything that waited for an invalidation; false when it still does not complete. */
  settle(): boolean {
    const { driver } = this.#core
    for (const group of this.#unblocked) {
      if (driver!.block(group) !== DriverStatus.ok) return false
      this.#unblocked.delete(group)
    }
    if (driver !== null && driver.completeInvalidations() !== DriverStatus.ok) return false
    const waiting = this.#waiting.splice(0)
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      next.release()
      // It failed again, and is back in the list: what came after it relies on it.
      if (this.#waiting.length > 0) {
        this.#waiting.push(...waiting)
        return false
      }
    }
    return true
  }

  /** True while something of `domain` waits for {@link settle}. */
  waits(domain: Domain): boolean {
    return this.#waiting.some((waiting) => waiting.domain === domain)
  }
}
