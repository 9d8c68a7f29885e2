/**
 * Who has a device. A group has one owner; a device changes hands only after a reset, in one step from the old translation to the new one; what
 * a guest gives back is quarantined: blocked, owned by DOMID_IO. Source: xen/drivers/passthrough/pci.c (assign_device, deassign_device).
 */
import { DOMID, DOMID_CONTROL, Errno, LIMIT_PERMISSION, XEN_DOMCTL_CDF } from '@iospace/abi'
import { DriverStatus } from '@iospace/iommu/driver'
import { PAGE_SIZE } from '@iospace/machine'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { closePort } from '../event-channel/use.ts'
import { ensureDefault, hasSpace, tableOf } from '../io-space/default-space.ts'
import type { Device } from './device.ts'

/** What stands between `domain` and `device`: 0, or why not. Changes nothing. */
export function mayAssign(core: Core, domain: Domain, device: Device): number {
  const { driver, confines } = core
  const { permissions } = domain.limits
  if (!confines && (permissions & LIMIT_PERMISSION.UNSAFE_PASSTHROUGH) === 0) return -Errno.EOPNOTSUPP
  if (driver !== null && (domain.flags & XEN_DOMCTL_CDF.iommu) === 0) return -Errno.EOPNOTSUPP
  if (domain.dying) return -Errno.EINVAL
  if (device.owner !== DOMID_CONTROL && device.owner !== DOMID.IO) return -Errno.EBUSY
  if (driver !== null && confines) {
    const strangers = core.devices
      .group(device)
      .filter((mate) => mate !== device && mate.owner !== DOMID.IO && mate.owner !== domain.domid)
    if (strangers.length > 0) return -Errno.EXDEV
    if (!driver.capabilities.interruptIsolation && (permissions & LIMIT_PERMISSION.UNSAFE_INTERRUPTS) === 0)
      return -Errno.EPERM
  }
  // What its last owner programmed is still in it, and a fenced one does not master the bus.
  if (!device.clean || device.fenced) return -Errno.EBUSY
  return 0
}

/** Gives `device` to `domain`, attached to its default space. */
export function assignDevice(core: Core, domain: Domain, device: Device): number {
  const rc = mayAssign(core, domain, device)
  if (rc !== 0) return rc
  if (core.driver !== null) {
    const made = ensureDefault(core, domain)
    if (made !== 0) return made
    // Where those are that move with it this one will be, too: blocked, if they are.
    const space = matesOf(core, device).find((mate) => mate.owner === domain.domid)?.space ?? 0
    const moved = space < 0 ? 0 : moveRequester(core, domain, device, space)
    if (moved !== 0) return moved
  }
  domain.defaultSettled = true
  leave(core, device)
  enter(core, domain, device)
  return 0
}

/** Takes `device` from `domain`: blocked before it changes hands. From DOMID_IO it returns to the control domain. */
export function deassignDevice(core: Core, device: Device): number {
  if (device.owner === DOMID.IO) return giveToControl(core, device)
  return quarantine(core, device)
}

/** Blocks `device` and gives it to DOMID_IO; a unit that cannot block it fences it. 0, or `EIO`: it is fenced, as everything is. */
export function quarantine(core: Core, device: Device): number {
  const blocked = blockRequester(core, device, false)
  const left = leave(core, device)
  const rc = blocked === 0 ? left : blocked
  device.owner = DOMID.IO
  device.virtualSbdf = device.sbdf
  device.clean = false
  core.machine.trace?.device(core.clock.now, device.sbdf, DOMID.IO, -1)
  return rc
}

/** Points the requester of `device` at space `id` of `domain`; its mates of that domain move along. */
export function moveRequester(core: Core, domain: Domain, device: Device, id: number): number {
  const { driver } = core
  if (driver === null) return 0
  if (!hasSpace(core, domain, id)) return -Errno.ENOENT
  if (!core.confines) {
    // Nothing to move: every device reaches the one table, and all that lies outside it.
    setSpace(core, device, id, true)
    return 0
  }
  const table = tableOf(domain, id)
  const status = driver.attach(device.requester, table)
  if (status === DriverStatus.noMemory) return -Errno.ENOMEM
  if (status === DriverStatus.unsupported) return -Errno.ERANGE
  if (status !== DriverStatus.ok) {
    // Nobody knows which of the two it sees: neither.
    blockRequester(core, device, true)
    core.devices.fenceAll()
    return -Errno.EIO
  }
  core.devices.attached(device.group)
  for (const mate of core.devices.group(device)) {
    if (mate !== device && mate.owner !== domain.domid) continue
    setSpace(core, mate, id, mate.owner === domain.domid)
  }
  return 0
}

/** Functions whose translation changes with that of `device`; none where nothing confines: there each is fenced by itself. */
export function matesOf(core: Core, device: Device): Device[] {
  return core.confines ? core.devices.group(device).filter((mate) => mate !== device) : []
}

/**
 * Makes every DMA of `device` fault. Mates that are attached are blocked with it (`whole`), or keep the translation while the function itself
 * is kept off the bus, because the hardware cannot tell them apart.
 */
export function blockRequester(core: Core, device: Device, whole: boolean): number {
  if (!core.confines) {
    setSpace(core, device, -1, device.space >= 0)
    core.devices.fence(device)
    return 0
  }
  const mates = matesOf(core, device).filter((mate) => mate.space >= 0)
  setSpace(core, device, -1, device.space >= 0)
  if (mates.length > 0 && !whole) {
    core.devices.fence(device)
    return 0
  }
  for (const mate of mates) setSpace(core, mate, -1, true)
  return core.devices.block(device.group) ? 0 : -Errno.EIO
}

function setSpace(core: Core, device: Device, space: number, told: boolean): void {
  device.space = space
  if (told) core.machine.trace?.device(core.clock.now, device.sbdf, device.owner, space)
}

function giveToControl(core: Core, device: Device): number {
  const dom0 = core.domains[DOMID_CONTROL]!
  if (core.driver !== null) {
    const strangers = core.devices.group(device).some((mate) => mate.owner !== DOMID.IO && mate.owner !== DOMID_CONTROL)
    if (core.confines && strangers) return -Errno.EXDEV
    const made = ensureDefault(core, dom0)
    if (made !== 0) return made
    const rc = moveRequester(core, dom0, device, 0)
    if (rc !== 0) return rc
  }
  // What its last owner programmed must not begin to run in the control domain's memory.
  if (!device.clean) core.devices.fence(device)
  enter(core, dom0, device)
  return 0
}

function enter(core: Core, domain: Domain, device: Device): void {
  device.owner = domain.domid
  device.virtualSbdf = device.sbdf
  device.clean = false
  domain.devices.push(device)
  for (const [first, frames] of registerFrames(core, device)) domain.mmio.grant(first, frames)
  core.machine.trace?.device(core.clock.now, device.sbdf, domain.domid, device.space)
}

/** Undoes what the owner had of the device: its interrupt, its registers, its name. 0, or `EIO` when the unit may still let the interrupt pass. */
function leave(core: Core, device: Device): number {
  const owner = core.domains[device.owner]
  if (owner === undefined) return 0
  let rc = 0
  if (device.pirq !== null) {
    if (device.pirq.port !== 0) closePort(core, owner, device.pirq.port)
    rc = core.devices.vectors.free(owner, device.pirq)
  }
  const at = owner.devices.indexOf(device)
  if (at >= 0) owner.devices.splice(at, 1)
  for (const [first, frames] of registerFrames(core, device)) owner.mmio.revoke(first, frames)
  return rc
}

/** Machine frames of the function's BARs. */
function registerFrames(core: Core, device: Device): [number, number][] {
  return device.fn.bars.map((bar) => {
    const low = device.bars[bar.index]!
    const address = (bar.wide ? device.bars[bar.index + 1]! * 2 ** 32 : 0) + (low - (low & 0xf))
    return [address / PAGE_SIZE, bar.bytes / PAGE_SIZE]
  })
}

/** Boot: every function is the control domain's, attached to its default space. */
export function adoptDevices(core: Core, dom0: Domain): number {
  if (core.driver !== null) {
    const rc = ensureDefault(core, dom0)
    if (rc !== 0) return rc
  }
  for (const device of core.devices.all()) {
    const rc = device.space < 0 ? moveRequester(core, dom0, device, 0) : 0
    if (rc !== 0) return rc
    enter(core, dom0, device)
  }
  dom0.defaultSettled = true
  return 0
}
