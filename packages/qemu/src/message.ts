/** Message-signalled interrupts of a PCI function (PCI Local Bus 3.0, 6.8.1). */
import { StateError } from '@iospace/wire'
import type { ConfigPort } from './ports.ts'

/** Offset of the first capability's pointer, and what capabilities look like: id, then the next one's offset. */
const CAPABILITIES = 0x34
const MSI = 0x05
/** Offsets in an MSI capability with a 64-bit address, and the bits of its control word that tell of one and enable it. */
const Msi = { control: 2, address: 4, upperAddress: 8, data: 12, wide: 0x80, enable: 1 } as const

/** What a message writes, and where. */
export interface Message {
  readonly addressLow: number
  readonly addressHigh: number
  readonly data: number
}

/** Lets the function at `bdf` send `message` for its interrupt. StateError when it has no MSI capability with a 64-bit address. */
export function setMessage(pci: ConfigPort, bdf: number, { addressLow, addressHigh, data }: Message): void {
  let at = pci.configRead(bdf, CAPABILITIES, 1)
  while (at !== 0 && pci.configRead(bdf, at, 1) !== MSI) at = pci.configRead(bdf, at + 1, 1)
  if (at === 0 || (pci.configRead(bdf, at + Msi.control, 2) & Msi.wide) === 0)
    throw new StateError(`function ${bdf.toString(16)}`, 'has no MSI capability with a 64-bit address')
  pci.configWrite(bdf, at + Msi.address, 4, addressLow >>> 0)
  pci.configWrite(bdf, at + Msi.upperAddress, 4, addressHigh >>> 0)
  pci.configWrite(bdf, at + Msi.data, 2, data)
  pci.configWrite(bdf, at + Msi.control, 2, Msi.enable)
}
