/**
 * A function's interrupt. In a domain the hypervisor owns the vector and the MSI registers: the kernel asks for a pirq and binds an
 * event channel to it. On bare metal the kernel writes the message into the function itself.
 */
import { DOMID, Errno, MAP_PIRQ_TYPE, physdev_map_pirq, physdev_unmap_pirq, PHYSDEVOP } from '@iospace/abi'
import { Capability, Config, Msi, STATUS_CAPABILITIES } from '@iospace/machine'
import type { PciDevice } from './pci/pci-device.ts'

export interface InterruptLine {
  /** Stops the interrupt and gives everything back. */
  release(): void
}

/** Calls `handler`, between tasks, on each interrupt of `device`. The line, or −errno. */
export function requestInterrupt(device: PciDevice, handler: () => void): InterruptLine | number {
  return device.kernel.isDomain ? requestPirq(device, handler) : requestMsi(device, handler)
}

function requestPirq({ kernel, sbdf }: PciDevice, handler: () => void): InterruptLine | number {
  const { events, hypercalls } = kernel
  const map = {
    ...physdev_map_pirq.zero(),
    domid: DOMID.SELF,
    type: MAP_PIRQ_TYPE.MSI_SEG,
    index: -1,
    pirq: -1,
    bus: sbdf >>> 8,
    devfn: sbdf & 0xff,
  }
  const mapped = hypercalls.call('physdev_op', PHYSDEVOP.map_pirq, physdev_map_pirq, map)
  if (mapped < 0) return mapped
  const unmap = (): number =>
    hypercalls.call('physdev_op', PHYSDEVOP.unmap_pirq, physdev_unmap_pirq, { domid: DOMID.SELF, pirq: map.pirq })
  const port = events.bindPirq(map.pirq)
  if (port < 0) {
    unmap()
    return port
  }
  events.handle(port, handler)
  const release = (): void => {
    events.close(port)
    unmap()
  }
  return { release }
}

function requestMsi(device: PciDevice, handler: () => void): InterruptLine | number {
  const { interrupts } = device.kernel.platform
  const at = findCapability(device, Capability.msi)
  if (interrupts === undefined || at === 0) return -Errno.ENODEV
  const message = interrupts.connect(handler)
  if (message === null) return -Errno.ENOSPC
  const control = device.configRead(at + Msi.control, 2)
  device.configWrite(at + Msi.address, 4, message.address)
  if ((control & Msi.wide) !== 0) device.configWrite(at + Msi.upperAddress, 4, 0)
  device.configWrite(at + ((control & Msi.wide) !== 0 ? Msi.data : Msi.upperAddress), 2, message.data)
  device.configWrite(at + Msi.control, 2, control | Msi.enable)
  const release = (): void => {
    device.configWrite(at + Msi.control, 2, control & ~Msi.enable)
    interrupts.disconnect(message)
  }
  return { release }
}

function findCapability(device: PciDevice, id: number): number {
  if ((device.configRead(Config.status, 2) & STATUS_CAPABILITIES) === 0) return 0
  // A list that a broken device made endless ends here after as many steps as fit into its space.
  let at = device.configRead(Config.capabilities, 1) & ~3
  for (let steps = 0; at !== 0 && steps < 48; steps++) {
    if (device.configRead(at, 1) === id) return at
    at = device.configRead(at + 1, 1) & ~3
  }
  return 0
}
