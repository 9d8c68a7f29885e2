/**
 * A domain's way to the configuration space of its devices: reads are the device's own, except for the interrupt message; writes reach the
 * command register (bits that are safe), the interrupt line, and the size of BARs. BARs never move, MSI registers are the hypervisor's.
 */
import { Command, Config, Express, Msi } from '@iospace/machine'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import type { Device } from './device.ts'
import { resetDevice } from './reset.ts'

const CONFIG_BYTES = 4096
const BAR_END = Config.bar0 + 24
const COMMAND_BITS = Command.memory | Command.busMaster | Command.interruptDisable

/** `size` (1, 2, 4) aligned bytes; all ones where the domain has no such function. */
export function readConfig(core: Core, domain: Domain, sbdf: number, offset: number, size: number): number {
  const device = lookUp(core, domain, sbdf, offset, size)
  if (device === undefined) return 2 ** (8 * size) - 1
  if (offset >= Config.bar0 && offset < BAR_END) {
    const index = (offset - Config.bar0) >> 2
    const dword = (device.sizing & (1 << index)) === 0 ? device.bars[index]! : sizeMask(device, index)
    return part(dword, offset & 3, size)
  }
  const value = core.machine.pci.configRead(device.sbdf, offset, size)
  // Vectors are the hypervisor's: where the message goes is nobody else's to know.
  if (device.msi !== 0 && offset >= device.msi + Msi.address && offset < device.msi + Msi.size) return 0
  return value
}

export function writeConfig(
  core: Core,
  domain: Domain,
  sbdf: number,
  offset: number,
  size: number,
  value: number,
): void {
  const device = lookUp(core, domain, sbdf, offset, size)
  if (device === undefined) return
  const { pci } = core.machine
  if (offset >= Config.bar0 && offset < BAR_END) {
    const bit = 1 << ((offset - Config.bar0) >> 2)
    if (size === 4 && value >>> 0 === 0xffff_ffff) device.sizing |= bit
    else device.sizing &= ~bit
  } else if (offset === Config.command && size >= 2) {
    const bits = value & COMMAND_BITS & (device.fenced ? ~Command.busMaster : ~0)
    pci.configWrite(device.sbdf, Config.command, 2, bits)
  } else if (offset === Config.interruptLine) {
    pci.configWrite(device.sbdf, Config.interruptLine, 1, value & 0xff)
  } else if (
    device.express !== 0 &&
    offset === device.express + Express.deviceControl &&
    size >= 2 &&
    (value & Express.initiateReset) !== 0
  ) {
    // A function-level reset would lose the BARs and the interrupt: done for the domain, with both restored.
    resetDevice(core, device, false)
  }
}

function lookUp(core: Core, domain: Domain, sbdf: number, offset: number, size: number): Device | undefined {
  const aligned =
    (size === 1 || size === 2 || size === 4) && offset >= 0 && offset + size <= CONFIG_BYTES && offset % size === 0
  return aligned && !domain.dying ? core.devices.named(domain, sbdf) : undefined
}

/** What a BAR reads after all ones were written to it (PCI 3.0 6.2.5.1). */
function sizeMask(device: Device, index: number): number {
  const spec = device.fn.bars.find((bar) => bar.index === index)
  if (spec !== undefined) return ((-spec.bytes & ~0xf) | (device.bars[index]! & 0xf)) >>> 0
  return device.fn.bars.some((bar) => bar.wide && bar.index === index - 1) ? 0xffff_ffff : 0
}

function part(dword: number, from: number, size: number): number {
  const shifted = dword >>> (8 * from)
  return size === 4 ? shifted : shifted & (2 ** (8 * size) - 1)
}
