/** The view that a domain gets: its memory by pfn, its registers, its devices' configuration, its events, the gate. */
import { Count, type TaskGroup } from '@iospace/machine'
import { ValueError } from '@iospace/wire'
import { readConfig, writeConfig } from './assignment/mediated-config.ts'
import type { Core } from './core.ts'
import type { Dispatcher } from './dispatch.ts'
import type { Domain } from './domain.ts'
import { kick } from './upcall.ts'
import type { DomainView, GuestPages } from './view.ts'

/** Events of one charge: far more than any guest does at once, and few enough to keep the clock exact. */
const MAX_CHARGE = 2 ** 40

class Pages implements GuestPages {
  declare private readonly domain: Domain
  declare private readonly core: Core
  declare readonly bytes: Uint8Array
  declare readonly words: Int32Array
  declare readonly doubles: Float64Array
  declare readonly view: DataView
  readonly copy: (to: number, from: number, length: number) => void
  readonly fill: (at: number, value: number, length: number) => void

  constructor(core: Core, domain: Domain) {
    const { memory } = core
    this.domain = domain
    this.core = core
    this.bytes = memory.bytes
    this.words = memory.words
    this.doubles = memory.doubles
    this.view = memory.view
    this.copy = memory.copy
    this.fill = memory.fill
  }

  get pages(): number {
    return this.domain.p2m.pages
  }

  frameOffset(pfn: number): number {
    const slot = this.domain.p2m.slots[pfn]
    return slot !== undefined && slot > 0 ? (slot - 1) * 4096 : -1
  }

  machineFrame(pfn: number): number {
    const slot = this.domain.p2m.slots[pfn]
    return slot !== undefined && slot > 0 ? this.core.mfn(slot - 1) : -1
  }
}

export class HostedView implements DomainView {
  declare private readonly core: Core
  declare private readonly domain: Domain
  declare private readonly dispatcher: Dispatcher
  declare readonly domid: number
  declare readonly name: string
  declare readonly tasks: TaskGroup
  declare readonly memory: GuestPages

  constructor(core: Core, dispatcher: Dispatcher, domain: Domain) {
    this.core = core
    this.domain = domain
    this.dispatcher = dispatcher
    this.domid = domain.domid
    this.name = domain.name
    this.tasks = domain.tasks
    this.memory = new Pages(core, domain)
  }

  hypercall(nr: number, a1 = 0, a2 = 0, a3 = 0): number {
    return this.dispatcher.hypercall(this.domain, nr, a1, a2, a3)
  }

  read32(address: number): number {
    this.core.machine.scheduler.enter()
    return this.#reaches(address) ? this.core.machine.mmio.read32(address) : 0xffff_ffff
  }

  write32(address: number, value: number): void {
    this.core.machine.scheduler.enter()
    if (!this.#reaches(address)) return
    this.core.machine.mmio.write32(address, value)
    this.core.faultWatch?.arm()
  }

  configRead(sbdf: number, offset: number, size: number): number {
    this.core.machine.scheduler.enter()
    return readConfig(this.core, this.domain, sbdf, offset, size)
  }

  configWrite(sbdf: number, offset: number, size: number, value: number): void {
    this.core.machine.scheduler.enter()
    writeConfig(this.core, this.domain, sbdf, offset, size, value)
    this.core.faultWatch?.arm()
  }

  devices(): number[] {
    return this.domain.devices.map((device) => device.virtualSbdf).sort((a, b) => a - b)
  }

  onUpcall(handler: () => void): void {
    this.domain.upcall = handler
    if (this.domain.ports.upcallDue) kick(this.domain)
  }

  now(): number {
    return this.core.clock.now
  }

  charge(kind: number, times = 1): void {
    this.core.machine.scheduler.enter()
    if (this.core.clock.counts[kind] === undefined || !(times >= 0 && times <= MAX_CHARGE))
      throw new ValueError('charge', undefined, undefined, times, `of event ${kind} is not work that a CPU does`)
    this.core.clock.charge(kind, times)
  }

  relax(): void {
    this.core.machine.scheduler.enter()
    this.core.clock.charge(Count.relax)
  }

  #reaches(address: number): boolean {
    return !this.domain.dying && (address & 3) === 0 && this.domain.mmio.allowsAddress(address)
  }
}
