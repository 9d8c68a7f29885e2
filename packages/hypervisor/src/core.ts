/** What the parts of the hypervisor share: the machine, the frames, the domains, the IOMMU's driver, the books. */
import { Count, type Clock, type Machine, type MachineMemory } from '@iospace/machine'
import { DOMID, VIRQ } from '@iospace/abi'
import type { IommuDriver } from '@iospace/iommu/driver'
import type { DeviceTable } from './assignment/device-table.ts'
import { Books } from './books.ts'
import type { Domain } from './domain.ts'
import type { FaultWatch } from './faults/watch.ts'
import { FrameTable } from './frames.ts'
import { GuestMemory } from './guest-memory.ts'
import { Heap } from './heap.ts'

export class Core {
  declare readonly machine: Machine
  declare readonly clock: Clock
  declare readonly memory: MachineMemory
  declare readonly frames: FrameTable
  declare readonly heap: Heap
  declare readonly guest: GuestMemory
  readonly books = new Books()
  /** Domains by id, dead ones that still own frames included. */
  readonly domains: (Domain | undefined)[] = []
  /** Null: this machine has no IOMMU. */
  driver: IommuDriver | null = null
  devices!: DeviceTable
  /** Called at the preemption points of long calls; tests run other vCPUs' hypercalls here. */
  onPreempt: (() => void) | null = null
  /** Null where the unit announces its faults itself. */
  faultWatch: FaultWatch | null = null
  nextDomid = 1
  /** Names of domains, for people. */
  nameOf: (domid: number, handle: Uint8Array) => string = (domid) => `domain ${domid}`
  /** Starts the kernel of a domain that was built. */
  boot: (domain: Domain) => void = () => undefined
  /** A task or handler of the domain threw. */
  onCrash: (domid: number, error: unknown) => void = () => undefined
  /** Where console output goes. */
  console: (domid: number, text: Uint8Array) => void = () => undefined

  constructor(machine: Machine) {
    this.machine = machine
    this.clock = machine.clock
    this.memory = machine.memory
    this.frames = new FrameTable(machine.memory, machine.random.fork())
    this.heap = new Heap(this.frames, machine.memory)
    this.guest = new GuestMemory(machine.memory, this.frames)
  }

  /** Whether anything stands between devices and memory that can keep them out of it: a GART only translates. */
  get confines(): boolean {
    return this.driver !== null && this.driver.capabilities.granularity !== 'none'
  }

  /** The domain that `domid` names for `caller`; undefined when there is none, or it is dead. */
  find(caller: Domain, domid: number): Domain | undefined {
    if (domid === DOMID.SELF) return caller
    const found = this.domains[domid]
    return found === undefined || found.life === 'dead' ? undefined : found
  }

  /** A preemption point: hardware that is due runs, and whatever a test wants in between. */
  preempt(): void {
    this.clock.charge(Count.relax, 0)
    if (this.onPreempt !== null) this.onPreempt()
  }

  /**
   * A preemption point between two parts of a call whose length the guest chooses, with nothing half done: the `steps` behind it take
   * time, and a task that has run past its slice ends here (TaskHung).
   */
  pause(steps: number): void {
    this.clock.charge(Count.relax, steps)
    this.machine.scheduler.enter()
    if (this.onPreempt !== null) this.onPreempt()
  }

  /** Raises virtual interrupt `virq` in `domain`, if it is bound. */
  raiseVirq(domain: Domain | undefined, virq: number): void {
    if (domain === undefined || domain.dying) return
    const port = domain.ports.virqPort[virq]!
    if (port !== 0) domain.ports.raise(port)
  }

  /** Tells the control domain that a domain shut down or died. */
  domainChanged(): void {
    this.raiseVirq(this.domains[0], VIRQ.DOM_EXC)
  }

  /** The same for a result that may be −1. */
  mfnOrNone(index: number): number {
    return index < 0 ? -1 : this.memory.frameAt(index)
  }

  /** Machine frame number of frame `index`. */
  mfn(index: number): number {
    return this.memory.frameAt(index)
  }
}
