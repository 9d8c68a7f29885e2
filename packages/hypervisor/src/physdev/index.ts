/** `physdev_op`: interrupts of devices, and their reset. Source: xen/arch/x86/physdev.c. */
import {
  Errno,
  PHYSDEVOP,
  pci_device_reset,
  physdev_eoi,
  physdev_irq_status_query,
  physdev_map_pirq,
  physdev_unmap_pirq,
} from '@iospace/abi'
import { resetDevice } from '../assignment/reset.ts'
import type { Call } from '../call.ts'
import { mapPirq, unmapPirq } from './pirq.ts'

export function physdevOp(call: Call, command: number, pointer: number): number {
  const { core, caller } = call
  switch (command) {
    case PHYSDEVOP.map_pirq: {
      const argument = call.read(physdev_map_pirq, pointer, true)
      if (argument === null) return -Errno.EFAULT
      const number = mapPirq(call, argument)
      if (number < 0) return number
      return call.writeI32(pointer + physdev_map_pirq.offsets.pirq, number) ? 0 : -Errno.EFAULT
    }
    case PHYSDEVOP.unmap_pirq: {
      const argument = call.read(physdev_unmap_pirq, pointer)
      return argument === null ? -Errno.EFAULT : unmapPirq(call, argument.domid, argument.pirq)
    }
    case PHYSDEVOP.eoi: {
      const argument = call.read(physdev_eoi, pointer)
      if (argument === null) return -Errno.EFAULT
      return caller.pirqs[argument.irq] === undefined ? -Errno.EINVAL : 0
    }
    case PHYSDEVOP.irq_status_query: {
      const argument = call.read(physdev_irq_status_query, pointer, true)
      if (argument === null) return -Errno.EFAULT
      if (caller.pirqs[argument.irq] === undefined) return -Errno.EINVAL
      // MSI: edge triggered, nothing to acknowledge.
      return call.writeI32(pointer + physdev_irq_status_query.offsets.flags, 0) ? 0 : -Errno.EFAULT
    }
    case PHYSDEVOP.pci_device_reset: {
      if (!caller.privileged) return -Errno.EPERM
      const argument = call.read(pci_device_reset, pointer)
      if (argument === null) return -Errno.EFAULT
      const { seg, bus, devfn } = argument.dev
      const device = core.devices.at((seg << 16) | (bus << 8) | devfn)
      return device === undefined ? -Errno.ENODEV : resetDevice(core, device, true)
    }
    default:
      return -Errno.ENOSYS
  }
}
