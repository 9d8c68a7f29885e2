/** Which I/O space of the hypervisor a device of this domain can use. */
import {
  ACCESS_KIND,
  DEFAULT_KIND,
  DEVICE_STATE,
  DOMID,
  Errno,
  GRANULARITY,
  HARDWARE_KIND,
  IOMMU_FEATURE,
  iommu_attach_device,
  iommu_create_space,
  IOMMU_MAGIC,
  IOMMU_OP,
  iommu_query,
  iommu_query_device,
  iommu_set_default,
  PAGE_SHIFT,
  SPACE_DEFAULT,
} from '@iospace/abi'
import type { Hypercalls } from './hypercalls.ts'

export interface IoSpace {
  readonly space: number
  /** Address bits that reach at least one page of its window. */
  readonly minAddressBits: number
  /** The hardware cannot express every access: a page that is only read or only written becomes both. */
  readonly widens: boolean
  /** Invalidations of unmapped pages may stay pending: the control domain allows it. */
  readonly mayDefer: boolean
}

const EVERY_ACCESS = ACCESS_KIND.READ | ACCESS_KIND.WRITE | ACCESS_KIND.READ_WRITE

/**
 * A space in which this domain decides what device `sbdf` (virtual) reaches, with the device attached: the default space, made
 * empty if it still is a mirror, else one of its own. Or −errno: no IOMMU, no such device, no right to a space.
 */
export function openSpace(hypercalls: Hypercalls, sbdf: number): IoSpace | number {
  const query = { ...iommu_query.zero(), size: iommu_query.size, domid: DOMID.SELF }
  const result = hypercalls.call('iommu_op', IOMMU_OP.query, iommu_query, query)
  if (result < 0) return result
  if (query.magic !== IOMMU_MAGIC || query.hardware_kind === HARDWARE_KIND.NONE) return -Errno.ENODEV
  const device = { ...iommu_query_device.zero(), size: iommu_query_device.size, domid: DOMID.SELF, device: sbdf }
  const known = hypercalls.call('iommu_op', IOMMU_OP.query_device, iommu_query_device, device)
  if (known < 0) return known
  const widens = (query.access_kinds & EVERY_ACCESS) !== EVERY_ACCESS
  const mayDefer = (Number(query.features) & IOMMU_FEATURE.DEFERRED) !== 0
  if (query.default_kind === DEFAULT_KIND.EMPTY || emptyDefault(hypercalls) === 0) {
    const attached = device.space === SPACE_DEFAULT && device.state === DEVICE_STATE.ATTACHED
    const error = attached ? 0 : attach(hypercalls, sbdf, SPACE_DEFAULT)
    // Page 0 is never mapped, so an address has at least 13 bits.
    return error < 0 ? error : { space: SPACE_DEFAULT, minAddressBits: PAGE_SHIFT + 1, widens, mayDefer }
  }
  return ownSpace(hypercalls, sbdf, widens, mayDefer)
}

/**
 * Address bits that reach memory on the bus of device `sbdf` (virtual): the width of its unit's tables, all where nothing is translated, or
 * only an aperture is. (Linux bus_dma_limit.)
 */
export function busBits(hypercalls: Hypercalls, sbdf: number): number {
  const device = { ...iommu_query_device.zero(), size: iommu_query_device.size, domid: DOMID.SELF, device: sbdf }
  const known = hypercalls.call('iommu_op', IOMMU_OP.query_device, iommu_query_device, device)
  return known < 0 || device.granularity === GRANULARITY.SHARED ? 64 : device.address_width
}

function emptyDefault(hypercalls: Hypercalls): number {
  const value = { size: iommu_set_default.size, flags: 0, domid: DOMID.SELF, kind: DEFAULT_KIND.EMPTY }
  return hypercalls.call('iommu_op', IOMMU_OP.set_default, iommu_set_default, value)
}

function attach(hypercalls: Hypercalls, sbdf: number, space: number): number {
  const value = { size: iommu_attach_device.size, flags: 0, domid: DOMID.SELF, space, device: sbdf, members: 0 }
  return hypercalls.call('iommu_op', IOMMU_OP.attach_device, iommu_attach_device, value)
}

function ownSpace(hypercalls: Hypercalls, sbdf: number, widens: boolean, mayDefer: boolean): IoSpace | number {
  const zero = iommu_create_space.zero()
  const devices = [sbdf, ...zero.devices.slice(1)]
  const value = { ...zero, size: iommu_create_space.size, domid: DOMID.SELF, device_count: 1, devices }
  const created = hypercalls.call('iommu_op', IOMMU_OP.create_space, iommu_create_space, value)
  if (created < 0) return created
  const error = attach(hypercalls, sbdf, value.space)
  if (error < 0) return error
  const firstPage = Math.max(1, Math.ceil(Number(value.window_start) / 2 ** PAGE_SHIFT))
  return { space: value.space, minAddressBits: Math.ceil(Math.log2(firstPage + 1)) + PAGE_SHIFT, widens, mayDefer }
}
