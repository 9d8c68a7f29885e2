/**
 * Resetting a function: its registers, queues and transfers in flight are gone, its interrupt is off, BARs stand where firmware placed
 * them. A function that cannot reset itself is reset with its bus, which its siblings must allow.
 */
import { Config, Express } from '@iospace/machine'
import { DOMID, DOMID_CONTROL, Errno } from '@iospace/abi'
import type { Core } from '../core.ts'
import type { Device } from './device.ts'
import { arm } from './interrupts.ts'

/**
 * `endsFence`: the control domain asked; a fence ends with it. 0, `EBUSY` when a sibling on the bus belongs to another guest, `EIO` when invalidations still fail (the fence stays).
 */
export function resetDevice(core: Core, device: Device, endsFence: boolean): number {
  const { pci } = core.machine
  const canReset =
    device.express !== 0 &&
    (device.fn.config.read(device.express + Express.deviceCapabilities, 4) & Express.functionResetCapable) !== 0
  const affected = canReset ? [device] : core.devices.all().filter((other) => other.sbdf >> 8 === device.sbdf >> 8)
  const forbids = (other: Device): boolean =>
    other.owner !== device.owner && other.owner !== DOMID_CONTROL && other.owner !== DOMID.IO
  if (affected.some(forbids)) return -Errno.EBUSY
  // A guest resets its function; a reset of the whole bus is the control domain's to ask for.
  if (!endsFence && !canReset) return -Errno.EOPNOTSUPP
  if (canReset) pci.configWrite(device.sbdf, device.express + Express.deviceControl, 2, Express.initiateReset)
  // The board's bridges have no register for it: a bus reset is pulled as a wire.
  else for (const other of affected) other.fn.reset()
  const settled = !endsFence || core.devices.settle()
  for (const other of affected) {
    device.bars.forEach((_, i) => pci.configWrite(other.sbdf, Config.bar0 + 4 * i, 4, other.bars[i]!))
    if (other.pirq !== null && other.pirq.port !== 0) arm(core, other.pirq)
    other.clean = endsFence
    other.sizing = 0
    if (endsFence && settled) {
      other.fenced = false
      other.faults = 0
      other.suppressed = false
    }
  }
  return settled ? 0 : -Errno.EIO
}
