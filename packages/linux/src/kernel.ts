/** The kernel as programs and drivers see it. */
import { SCHEDOP, sched_shutdown, SHUTDOWN } from '@iospace/abi'
import type { Task, WaitQueue } from '@iospace/machine'
import { StateError } from '@iospace/wire'
import { BlockDevices } from './block/block-device.ts'
import type { CommandLine } from './command-line.ts'
import { DmaBackends } from './dma/backends.ts'
import type { KernelMemory } from './memory/kernel-memory.ts'
import { PciBus } from './pci/pci-bus.ts'
import type { Platform } from './platform.ts'
import type { EventChannels } from './xen/events.ts'
import type { GrantTable } from './xen/grant-table.ts'
import type { Hypercalls } from './xen/hypercalls.ts'
import type { XenstoreClient } from './xen/xenbus/xenstore-client.ts'
import { Xenbus } from './xen/xenbus/xenbus.ts'

/** What a kernel has only as a domain. */
export interface XenServices {
  readonly hypercalls: Hypercalls
  readonly events: EventChannels
  readonly grants: GrantTable
  /** Null until the domain has a xenstore connection: dom0 makes its own. */
  xenstore: XenstoreClient | null
  /** The control domain (`SIF_INITDOMAIN`). */
  readonly initialDomain: boolean
}

export class Kernel {
  readonly platform: Platform
  readonly commandLine: CommandLine
  readonly memory: KernelMemory
  /** Pages of memory, spare slots not counted. */
  readonly nrPages: number
  /** PCI functions and their drivers. */
  readonly pci: PciBus
  /** Which DMA backend each device gets. */
  readonly dma: DmaBackends
  /** Block devices by name, as drivers register them. */
  readonly block = new BlockDevices()
  readonly #xen: XenServices | null
  readonly #atShutdown: (() => Promise<void> | void)[] = []
  #xenbus: Xenbus | null = null
  #stopped = false

  /** `xen` is null on bare metal. Use `bootKernel`. */
  constructor(
    platform: Platform,
    commandLine: CommandLine,
    memory: KernelMemory,
    nrPages: number,
    xen: XenServices | null,
  ) {
    this.platform = platform
    this.commandLine = commandLine
    this.memory = memory
    this.nrPages = nrPages
    this.#xen = xen
    this.dma = new DmaBackends(this)
    this.pci = new PciBus(this)
  }

  /** For messages. */
  get name(): string {
    return this.platform.name
  }

  /** Whether there is a hypervisor below. */
  get isDomain(): boolean {
    return this.#xen !== null
  }

  /** What a domain has; StateError on bare metal. */
  get xen(): XenServices {
    if (this.#xen === null)
      throw new StateError(this.name, 'runs on bare metal: no hypercalls, events, grants or xenstore')
    return this.#xen
  }

  get hypercalls(): Hypercalls {
    return this.xen.hypercalls
  }

  get events(): EventChannels {
    return this.xen.events
  }

  get grants(): GrantTable {
    return this.xen.grants
  }

  /** The xenstore connection. StateError while there is none. */
  get xenstore(): XenstoreClient {
    const client = this.xen.xenstore
    if (client === null) throw new StateError(this.name, 'has no xenstore connection')
    return client
  }

  /** The bus of front- and back-ends. */
  get xenbus(): Xenbus {
    this.#xenbus ??= new Xenbus(this)
    return this.#xenbus
  }

  /** Writes a line to the console. */
  log(text: string): void {
    this.#xen?.hypercalls.console(`${text}\n`)
  }

  /** Virtual ns. */
  now(): number {
    return this.platform.now()
  }

  /** Suspends the calling task for `ns` of virtual time. */
  sleep(ns: number): Promise<void> {
    return this.platform.tasks.scheduler.sleep(ns)
  }

  /** A queue for tasks to wait on; `reason` completes “waits for …”. */
  queue(reason: string): WaitQueue {
    return this.platform.tasks.scheduler.queue(reason)
  }

  /** Starts a task. Daemons do not keep a run alive. */
  spawn(name: string, body: () => Promise<void>, options: { readonly daemon?: boolean } = {}): Task {
    return this.platform.tasks.spawn(`${this.name}/${name}`, body, options)
  }

  /** Runs `step` when the kernel shuts down, before those registered earlier. */
  onShutdown(step: () => Promise<void> | void): void {
    this.#atShutdown.push(step)
  }

  /**
   * Stops front- and back-ends, unbinds drivers (which give back every mapping, grant and port), and tells the hypervisor. The last
   * thing that a program does; waits for devices in between. No effect the second time.
   */
  async shutdown(reason: number = SHUTDOWN.poweroff): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    for (const step of this.#atShutdown.reverse()) await step()
    if (this.#xenbus !== null) await this.#xenbus.shutdown()
    await this.pci.shutdown()
    this.#xen?.hypercalls.call('sched_op', SCHEDOP.shutdown, sched_shutdown, { reason })
  }
}
