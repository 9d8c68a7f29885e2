/**
 * Interrupts of devices: the hypervisor owns every vector, programs the MSI registers with it (or with what the unit remaps to it), and raises
 * the event channel that is bound to the pirq. A message with a vector that nobody has is counted and dropped.
 */
import { Errno } from '@iospace/abi'
import { DriverStatus, type InterruptMessage } from '@iospace/iommu/driver'
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
/** In place of an entry: messages are not remapped. Errno −1 (EPERM) is none of the errors of a remapping. */
const NOT_REMAPPED = -1
/** In place of a holder: the unit did not confirm that the vector is free. */
const LOST = null

export class InterruptVectors {
  readonly #core: Core
  readonly #holders: ({ readonly domain: Domain; readonly pirq: Pirq } | typeof LOST | undefined)[] = []
  /** Messages with a vector that no pirq has. */
  spurious = 0

  constructor(core: Core) {
    this.#core = core
    for (let vector = FIRST_VECTOR; vector <= LAST_VECTOR; vector++)
      core.machine.interrupts.handle(vector, (got) => this.#deliver(got))
  }

  /**
   * A new pirq of `domain` for `device`, or a negative errno: `ENOSPC` when no number, vector or remapping entry is left, `ENOMEM` when no
   * table page is, `EIO` when the unit does not answer.
   */
  allocate(domain: Domain, device: Device, wanted: number): Pirq | number {
    let number = wanted
    if (wanted < 0) for (number = FIRST_PIRQ; domain.pirqs[number] !== undefined; number++);
    let vector = FIRST_VECTOR
    while (vector <= LAST_VECTOR && this.#holders[vector] !== undefined) vector++
    if (number >= MAX_PIRQS || domain.pirqs[number] !== undefined || vector > LAST_VECTOR) return -Errno.ENOSPC
    const message = { addressLow: MESSAGE_ADDRESS, addressHigh: 0, data: vector }
    const entry = this.#remap(domain, device, vector, message)
    if (entry < NOT_REMAPPED) {
      // The unit may know the entry all the same.
      if (entry === -Errno.EIO) this.#lose(vector)
      return entry
    }
    const pirq: Pirq = { number, device, vector, message, entry, port: 0 }
    domain.pirqs[number] = pirq
    device.pirq = pirq
    this.#holders[vector] = { domain, pirq }
    return pirq
  }

  /**
   * Takes the pirq away; the port that was bound to it stays, silent, until it is closed. 0, or `EIO` when the unit does not answer: it is gone,
   * but its vector is nobody's from now on.
   */
  free(domain: Domain, pirq: Pirq): number {
    const { device, entry } = pirq
    silence(this.#core, device)
    domain.pirqs[pirq.number] = undefined
    device.pirq = null
    // Nobody gets the vector while the device might still send it.
    if (entry !== NOT_REMAPPED && this.#core.driver!.unmapInterrupt(device.requester, entry) !== DriverStatus.ok) {
      this.#lose(pirq.vector)
      return -Errno.EIO
    }
    this.#holders[pirq.vector] = undefined
    return 0
  }

  /** Has the unit turn a message of `device`, and of nobody else, into `vector`: its entry, {@link NOT_REMAPPED}, or an errno below that. */
  #remap(domain: Domain, device: Device, vector: number, message: InterruptMessage): number {
    const { driver, heap } = this.#core
    if (driver === null || !driver.capabilities.interruptIsolation) return NOT_REMAPPED
    heap.payer = domain
    const entry = driver.mapInterrupt(device.requester, vector, message)
    heap.payer = null
    if (entry >= 0) return entry
    if (entry === DriverStatus.noTable) return -Errno.ENOSPC
    return entry === DriverStatus.noMemory ? -Errno.ENOMEM : -Errno.EIO
  }

  /** The unit did not confirm what became of an entry that leads to `vector`. */
  #lose(vector: number): void {
    this.#holders[vector] = LOST
    this.#core.devices.fenceAll()
  }

  #deliver(vector: number): void {
    const holder = this.#holders[vector]
    if (holder === undefined || holder === LOST || holder.pirq.port === 0) this.spurious++
    else holder.domain.ports.raise(holder.pirq.port)
  }
}

/** Makes the device of `pirq` send its message. */
export function arm(core: Core, { device, message }: Pirq): void {
  const { sbdf, msi } = device
  const { pci } = core.machine
  pci.configWrite(sbdf, msi + Msi.address, 4, message.addressLow)
  pci.configWrite(sbdf, msi + Msi.upperAddress, 4, message.addressHigh)
  pci.configWrite(sbdf, msi + Msi.data, 2, message.data)
  pci.configWrite(sbdf, msi + Msi.control, 2, Msi.enable)
}

/** Switches the interrupt of `device` off. */
export function silence(core: Core, { sbdf, msi }: Device): void {
  core.machine.pci.configWrite(sbdf, msi + Msi.control, 2, 0)
}
