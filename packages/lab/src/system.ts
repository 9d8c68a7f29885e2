/** A running system: the board, the hypervisor and what happened to the domains. */
import { NvmeController } from '@iospace/devices'
import type { Hypervisor } from '@iospace/hypervisor'
import type { IommuUnit } from '@iospace/iommu/hardware'
import type { Machine, PciFunction, RunOutcome } from '@iospace/machine'
import { ConfigError, StateError } from '@iospace/wire'
import { readBooks, type SystemBooks } from './books.ts'
import type { SystemDescription } from './describe.ts'
import { HostOracle } from './oracle.ts'

/** A domain whose program threw, ran for ever, or waited for ever. */
export interface Crash {
  readonly domain: string
  readonly error: unknown
}

/** Nothing that a domain waits for can happen any more. */
export class WaitsForEver extends Error {
  constructor(reasons: readonly string[]) {
    super(`waits for ever for ${reasons.join(' and ')}`)
    this.name = 'WaitsForEver'
  }
}

/** How a run ended. */
export interface SystemOutcome {
  /** Every program came to its end, or was ended and taken apart. */
  readonly finished: boolean
  readonly crashes: readonly Crash[]
  /** What is left waiting when nothing could go on; empty when it finished. */
  readonly waiting: readonly string[]
  /** Virtual ns since power-on. */
  readonly virtualNs: number
}

export class System {
  readonly description: SystemDescription
  readonly machine: Machine
  /** The IOMMU's hardware; null on a board without one. */
  readonly unit: IommuUnit | null
  readonly #functions: ReadonlyMap<string, PciFunction>
  readonly #names = new Map<number, string>()
  readonly #crashes: Crash[] = []
  #hypervisor: Hypervisor | null = null

  /** @internal */
  constructor(
    description: SystemDescription,
    machine: Machine,
    unit: IommuUnit | null,
    functions: ReadonlyMap<string, PciFunction>,
  ) {
    this.description = description
    this.machine = machine
    this.unit = unit
    this.#functions = functions
  }

  get hypervisor(): Hypervisor {
    if (this.#hypervisor === null) throw new StateError('system', 'is not built yet')
    return this.#hypervisor
  }

  /** Runs until every program has ended. A domain that waits for what cannot come any more is ended like one that crashed. */
  async run(): Promise<SystemOutcome> {
    const { scheduler, clock } = this.machine
    let outcome: RunOutcome = await scheduler.run()
    while (outcome.kind === 'stuck' && this.#endOneOf(outcome)) outcome = await scheduler.run()
    const waiting =
      outcome.kind === 'finished' ? [] : outcome.waiting.map(({ task, reason }) => `${task} waits for ${reason}`)
    return { finished: outcome.kind === 'finished', crashes: [...this.#crashes], waiting, virtualNs: clock.now }
  }

  /** What was counted so far. */
  books(): SystemBooks {
    return readBooks(this)
  }

  /** The host's view of machine memory, and where things lie in it. */
  get oracle(): HostOracle {
    return new HostOracle(this)
  }

  /** The NVMe controller `name` of the description. */
  nvme(name: string): NvmeController {
    const device = this.#functions.get(name)
    if (!(device instanceof NvmeController))
      throw new ConfigError('nvme', name, 'is not an NVMe controller of this board')
    return device
  }

  /** Every NVMe controller. */
  controllers(): NvmeController[] {
    return [...this.#functions.values()].filter((device) => device instanceof NvmeController)
  }

  nameOf(domid: number): string {
    return this.#names.get(domid) ?? `domain ${domid}`
  }

  /** @internal */ start(hypervisor: Hypervisor): void {
    this.#hypervisor = hypervisor
  }

  /** @internal */ noteBoot(domid: number, name: string): void {
    this.#names.set(domid, name)
  }

  /** @internal */ noteCrash(domid: number, error: unknown): void {
    this.#crashes.push({ domain: this.nameOf(domid), error })
  }

  /** Ends one domain that waits for ever: a guest rather than one that serves others, and never dom0. False when there is none. */
  #endOneOf({ waiting }: RunOutcome & { kind: 'stuck' }): boolean {
    const services = new Set(this.description.domains.filter(({ service }) => service).map(({ name }) => name))
    const stuck = [...this.#names].filter(([domid, name]) => domid !== 0 && waiting.some(({ group }) => group === name))
    const [chosen] = stuck.sort(([, a], [, b]) => Number(services.has(a)) - Number(services.has(b)))
    if (chosen === undefined) return false
    const [domid, name] = chosen
    const reasons = waiting.filter(({ group }) => group === name).map(({ reason }) => reason)
    const view = this.hypervisor.view(domid)
    if (view === undefined || view.tasks.dead) return false
    view.tasks.crash(new WaitsForEver(reasons), null)
    return true
  }
}
