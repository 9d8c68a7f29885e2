import type { PciDevice } from './pci-device.ts'

/** What a driver binds: a vendor and device, or a whole class (24 bits: base class, sub-class, interface). */
export type PciId = { readonly vendor: number; readonly device: number } | { readonly class: number }

/**
 * A driver: the ids it binds and a `probe`. What probe acquires it undoes in `device.defer(…)`; the bus runs those steps, last one
 * first, when the device goes or probe fails. So a driver has no remove of its own.
 */
export interface PciDriver {
  readonly name: string
  readonly ids: readonly PciId[]
  /** Makes the device work. May wait. Nothing or 0 when it does; −errno when it does not, and everything deferred is undone. */
  probe(device: PciDevice): Promise<number | void>
}
