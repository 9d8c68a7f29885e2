/** The default space of a domain: a mirror or an empty one, made when it is first needed. */
import { DEFAULT_KIND, Errno, SPACE_DEFAULT } from '@iospace/abi'
import { DriverStatus, type IommuDriver } from '@iospace/iommu/driver'
import { HIGH_RAM_FRAME, PAGE_SIZE } from '@iospace/machine'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { Mirror } from './mirror.ts'
import { MAX_IO_BITS, Space } from './space.ts'

/** Makes space 0 of `domain` if it is not there: 0, `ENOMEM`, `ENOSPC` (no table left), `EIO`. */
export function ensureDefault(core: Core, domain: Domain): number {
  const { driver } = core
  if (driver === null || domain.mirror !== null || domain.spaces.get(SPACE_DEFAULT) !== undefined) return 0
  const bits = widest(driver)
  if (domain.defaultKind === DEFAULT_KIND.MIRROR) {
    if (isNatural(core, domain, SPACE_DEFAULT)) return 0
    const mirror = Mirror.build(core, driver, domain, widthOfMemory(core, driver))
    if (typeof mirror === 'number') return tableError(mirror)
    domain.mirror = mirror
    return 0
  }
  const { first, end } = driver.capabilities.window
  const last = Math.min(end, 2 ** Math.min(bits, MAX_IO_BITS)) - 1
  const made = makeSpace(core, driver, domain, SPACE_DEFAULT, first, last, false)
  return typeof made === 'number' ? made : 0
}

/**
 * {@link ensureDefault} at a domain's own wish: `ENOENT` for one that has no device to use it. Tables are few, and limits are given to domains
 * that never have a device.
 */
export function demandDefault(core: Core, domain: Domain): number {
  const { devices, spaces } = domain
  return devices.length === 0 && spaces.get(SPACE_DEFAULT) === undefined ? -Errno.ENOENT : ensureDefault(core, domain)
}

/** A new space `id` with window [`start`, `end`] in bytes; or a negative errno with nothing changed. */
export function makeSpace(
  core: Core,
  driver: IommuDriver,
  domain: Domain,
  id: number,
  start: number,
  end: number,
  defers: boolean,
): Space | number {
  const bits = driver.capabilities.tableWidths.find((width) => 2 ** width > end)
  if (bits === undefined) return -Errno.ERANGE
  core.heap.payer = domain
  const table = driver.createTable(bits)
  core.heap.payer = null
  if (table < 0) return tableError(table)
  const space = new Space(
    core,
    driver,
    domain,
    id,
    table,
    { first: Math.ceil(start / 4096), end: Math.floor((end + 1) / 4096) },
    bits,
    defers,
  )
  domain.spaces.add(space)
  return space
}

/** Whether `domain` has a space `id` that a device can be attached to. */
export function hasSpace(core: Core, domain: Domain, id: number): boolean {
  return tableOf(domain, id) >= 0 || isNatural(core, domain, id)
}

/** A mirror that needs no table, because the unit passes machine addresses by itself. */
function isNatural(core: Core, domain: Domain, id: number): boolean {
  return id === SPACE_DEFAULT && domain.defaultKind === DEFAULT_KIND.MIRROR && !core.confines
}

/** Handle of the table that translates space `id` of `domain`; −1: there is no such space. */
export function tableOf(domain: Domain, id: number): number {
  if (id === SPACE_DEFAULT && domain.mirror !== null) return domain.mirror.table
  return domain.spaces.get(id)?.table ?? -1
}

/** Width of the narrowest table that reaches all memory that any of them reaches. */
function widthOfMemory({ memory }: Core, driver: IommuDriver): number {
  const { tableWidths } = driver.capabilities
  const reachesHigh = memory.highFrames > 0 && 2 ** widest(driver) > HIGH_RAM_FRAME * PAGE_SIZE
  const frames = reachesHigh ? HIGH_RAM_FRAME + memory.highFrames : memory.lowFrames
  return Math.min(widest(driver), ...tableWidths.filter((width) => 2 ** width >= frames * PAGE_SIZE))
}

/** The widest table that the unit has, in bits. */
function widest(driver: IommuDriver): number {
  return Math.max(...driver.capabilities.tableWidths)
}

function tableError(status: number): number {
  if (status === DriverStatus.noMemory) return -Errno.ENOMEM
  return status === DriverStatus.noTable ? -Errno.ENOSPC : -Errno.EIO
}
