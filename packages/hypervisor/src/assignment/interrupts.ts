/**
 * Interrupts of devices: the hypervisor owns every vector, programs the MSI registers with it, and raises the event channel that is bound to
 * the pirq. A message with a vector that nobody has is counted and dropped.
 */
import { INTERRUPT_WINDOW, Msi } from '@iospace/machine'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import type { Pirq } from '../event-channel/pirq.ts'
import type { Device } from './device.ts'

const FIRST_VECTOR = 0x30
const LAST_VECTOR = 0xef
/** The IOMMU's own fault interrupt. */
export const FAULT_VECTOR = 0xf0
export const MESSAGE_ADDRESS = INTERRUPT_WINDOW * 2 ** 20
/** Pirqs below are ISA's. */
const FIRST_PIRQ = 16
const MAX_PIRQS = 256

export class InterruptVectors {
  readonly #core: Core
  readonly #holders: ({ readonly domain: Domain; readonly pirq: Pirq } | undefined)[] = []
  /** Messages with a vector that no pirq has. */
  spurious = 0

  constructor(core: Core) {
    this.#core = core
    for (let vector = FIRST_VECTOR; vector <= LAST_VECTOR; vector++)
      core.machine.interrupts.handle(vector, (got) => this.#deliver(got))
  }

  /** A new pirq of `domain` for `device`; null when no number or vector is left. */
  allocate(domain: Domain, device: Device, wanted: number): Pirq | null {
    let number = wanted
    if (wanted < 0) for (number = FIRST_PIRQ; domain.pirqs[number] !== undefined; number++);
    let vector = FIRST_VECTOR
    while (vector <= LAST_VECTOR && this.#holders[vector] !== undefined) vector++
    if (number >= MAX_PIRQS || domain.pirqs[number] !== undefined || vector > LAST_VECTOR) return null
    const pirq: Pirq = { number, device, vector, port: 0 }
    domain.pirqs[number] = pirq
    device.pirq = pirq
    this.#holders[vector] = { domain, pirq }
    return pirq
  }

  /** Takes the pirq away; the port that was bound to it stays, silent, until it is closed. */
  free(domain: Domain, pirq: Pirq): void {
    setMessageInterrupt(this.#core, pirq.device, -1)
    this.#holders[pirq.vector] = undefined
    domain.pirqs[pirq.number] = undefined
    pirq.device.pirq = null
  }

  #deliver(vector: number): void {
    const holder = this.#holders[vector]
    if (holder === undefined || holder.pirq.port === 0) this.spurious++
    else holder.domain.ports.raise(holder.pirq.port)
  }
}

/** Makes `device` send `vector` to the CPU; −1 switches its interrupt off. */
export function setMessageInterrupt(core: Core, device: Device, vector: number): void {
  const { sbdf, msi } = device
  const { pci } = core.machine
  if (vector < 0) {
    pci.configWrite(sbdf, msi + Msi.control, 2, 0)
    return
  }
  pci.configWrite(sbdf, msi + Msi.address, 4, MESSAGE_ADDRESS)
  pci.configWrite(sbdf, msi + Msi.upperAddress, 4, 0)
  pci.configWrite(sbdf, msi + Msi.data, 2, vector)
  pci.configWrite(sbdf, msi + Msi.control, 2, Msi.enable)
}
