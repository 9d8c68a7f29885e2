/** The hypervisor of one machine: takes the board over, makes dom0, and serves every domain through its view. */
import { ConfigError } from '@iospace/wire'
import { DOMID, EVTCHN_2L_NR_CHANNELS, XEN_DOMCTL_CDF } from '@iospace/abi'
import type { IommuDriver } from '@iospace/iommu/driver'
import type { TablePages } from '@iospace/iommu/hardware'
import { PAGE_SIZE, type Machine } from '@iospace/machine'
import { DeviceTable } from './assignment/device-table.ts'
import { FAULT_VECTOR, MESSAGE_ADDRESS } from './assignment/interrupts.ts'
import { Core } from './core.ts'
import { Dispatcher } from './dispatch.ts'
import type { Domain } from './domain.ts'
import { HostedView } from './domain-view.ts'
import { buildDom0 } from './dom0.ts'
import { drainFaults } from './faults/drain.ts'
import { FaultWatch } from './faults/watch.ts'
import type { HeapUse } from './heap.ts'
import { AGE_VECTOR, completeAged } from './io-space/age.ts'
import { Oracle } from './oracle.ts'
import { takeSnapshot, type Snapshot } from './snapshot.ts'
import { finishDomain } from './teardown.ts'
import type { DomainView } from './view.ts'

export interface HypervisorOptions {
  readonly machine: Machine
  /** Makes the driver of the machine's IOMMU, whose tables lie in the hypervisor's frames; null: the machine has none. */
  readonly iommu: ((pages: TablePages) => IommuDriver) | null
  /** Starts a domain's kernel: called for dom0 when it is made, for others at their first unpause. */
  readonly boot: (view: DomainView) => void
  /** A task or handler of a domain threw: the domain is shut down as crashed, dom0 has been told. */
  readonly onCrash?: (domid: number, error: unknown) => void
  /** Console output of the domains. */
  readonly console?: (domid: number, text: Uint8Array) => void
  /** Names for people; `handle` is createdomain's. */
  readonly nameOf?: (domid: number, handle: Uint8Array) => string
}

/** Memory at bus addresses that the unit lets through is nobody's: every device reaches it. */
function keepUntranslated({ frames, memory }: Core, { capabilities }: IommuDriver): void {
  for (const [first, end] of capabilities.untranslated) {
    for (let mfn = Math.floor(first / PAGE_SIZE); mfn < Math.ceil(end / PAGE_SIZE); mfn++) {
      const index = memory.frameIndex(mfn)
      if (index >= 0 && frames.isFree(index)) frames.take(index, DOMID.XEN)
    }
  }
}

export interface Dom0Options {
  /** Pages of dom0's memory, pfn 0 excluded from use. */
  readonly pages: number
  /** Kernel command line, at most 1023 bytes. */
  readonly commandLine: string
}

export class Hypervisor {
  readonly #core: Core
  readonly #dispatcher: Dispatcher
  /** Where things lie, for tests and attacks. */
  readonly oracle: Oracle

  /** Turns the IOMMU on, everything behind it blocked. ConfigError when the unit does not come up. */
  constructor(options: HypervisorOptions) {
    const core = new Core(options.machine)
    this.#core = core
    // Frame 0 is nobody's: address 0 must not become memory by mistake.
    core.frames.take(0, DOMID.XEN)
    if (options.iommu !== null) {
      core.driver = options.iommu({
        allocatePage: () => core.mfnOrNone(core.heap.allocateTablePage()),
        allocateRun: (order) => core.mfnOrNone(core.heap.allocateRun(order)),
        freePage: (mfn) => core.heap.freeTablePage(core.memory.frameIndex(mfn)),
      })
      // Before anything of the hypervisor's own lies there.
      keepUntranslated(core, core.driver)
      const { tableOrder } = core.driver.capabilities
      if (tableOrder > 0 && !core.heap.keepRuns(tableOrder + 1))
        throw new ConfigError('memory.frames', core.frames.frames, 'hold no IOMMU tables in one piece')
    }
    this.#dispatcher = new Dispatcher(core)
    this.oracle = new Oracle(core, this.#dispatcher)
    if (this.#dispatcher.scratchOffset < 0)
      throw new ConfigError('memory.frames', core.frames.frames, 'do not hold a hypervisor')
    core.boot = (domain) => options.boot(this.#viewOf(domain))
    if (options.onCrash !== undefined) core.onCrash = options.onCrash
    if (options.console !== undefined) core.console = options.console
    if (options.nameOf !== undefined) core.nameOf = options.nameOf
    if (core.driver !== null) {
      const status = core.driver.enable()
      if (status !== 0) throw new ConfigError('iommu', status, 'is the status with which the unit did not come up')
    }
    core.devices = new DeviceTable(core)
    core.frames.onDrained = (domid) => {
      const domain = core.domains[domid]
      if (domain?.torn === true) finishDomain(core, domain)
    }
    if (core.driver !== null) {
      options.machine.interrupts.handle(FAULT_VECTOR, () => drainFaults(core))
      options.machine.interrupts.handle(AGE_VECTOR, () => completeAged(core))
      if (core.driver.capabilities.faultInterrupt) core.driver.setFaultInterrupt(MESSAGE_ADDRESS, FAULT_VECTOR)
      else core.faultWatch = new FaultWatch(core)
    }
  }

  /** Builds the control domain, with every PCI function, and starts it. ConfigError when the machine is too small for it. */
  createDom0({ pages, commandLine }: Dom0Options): DomainView {
    const core = this.#core
    const domain = buildDom0(core, pages, commandLine, {
      handle: new Uint8Array(16),
      flags: core.driver === null ? 0 : XEN_DOMCTL_CDF.iommu,
      ports: EVTCHN_2L_NR_CHANNELS,
    })
    domain.life = 'running'
    core.boot(domain)
    return this.#viewOf(domain)
  }

  /** The view of a living domain; undefined when there is none. For test benches: a domain gets its own through `boot`. */
  view(domid: number): DomainView | undefined {
    const domain = this.#core.domains[domid]
    return domain === undefined || domain.dying ? undefined : this.#viewOf(domain)
  }

  /** The books: what was called, made, ended and is outstanding, and what each domain uses. */
  snapshot(): Snapshot {
    return takeSnapshot(this.#core)
  }

  /** Runs at every preemption point of a long hypercall, with hypervisor work in between: hypercalls of other vCPUs, changes of guest memory. */
  set onPreempt(hook: (() => void) | null) {
    this.#core.onPreempt = hook
  }

  /** Makes allocations of hypervisor frames fail where it answers true. */
  set failpoint(decide: ((use: HeapUse) => boolean) | null) {
    this.#core.heap.failpoint = decide
  }

  #viewOf(domain: Domain): DomainView {
    domain.view ??= new HostedView(this.#core, this.#dispatcher, domain)
    return domain.view
  }
}
