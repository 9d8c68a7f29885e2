/** Building guests and using iommu_op from a test's dom0: real hypercalls with real bytes. */
import {
  DOMID,
  IOMMU_OP,
  LIMIT_PERMISSION,
  PHYSDEVOP,
  SET_LIMITS_FLAGS,
  XENMEM,
  XEN_DOMCTL,
  XEN_DOMCTL_CDF,
  XEN_DOMCTL_INTERFACE_VERSION,
  domctl_assign_device,
  domctl_createdomain,
  domctl_max_mem,
  iommu_set_limits,
  pci_device_reset,
  xen_domctl,
  xen_memory_reservation,
} from '@iospace/abi'
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import { Guest, type Rig } from './rig.ts'

export function domctl<F extends Fields>(
  guest: Guest,
  cmd: number,
  domain: number,
  struct: Struct<F>,
  u?: object,
): { rc: number; out: ValueOf<F> } {
  const zero = struct.zero() as Record<string, unknown>
  const value = {
    ...zero,
    cmd,
    interface_version: XEN_DOMCTL_INTERFACE_VERSION,
    domain,
    ...(u === undefined ? {} : { u: { ...(zero['u'] as object), ...u } }),
  }
  return guest.op('domctl', 0, struct, value as Partial<ValueOf<F>>)
}

export interface GuestOptions {
  readonly pages?: number
  readonly iommu?: boolean
}

/** A started guest with `pages` pages from pfn 1 on. */
export function addGuest({ dom0, booted }: Rig, { pages = 64, iommu = true }: GuestOptions = {}): Guest {
  const made = domctl(dom0, XEN_DOMCTL.createdomain, 0, domctl_createdomain, {
    flags: iommu ? XEN_DOMCTL_CDF.iommu : 0,
    max_vcpus: 1,
    max_grant_frames: -1,
    max_maptrack_frames: -1,
  })
  if (made.rc !== 0) throw new Error(`createdomain: ${made.rc}`)
  const { domain } = made.out
  const limited = domctl(dom0, XEN_DOMCTL.max_mem, domain, domctl_max_mem, { max_memkb: BigInt(pages * 4) })
  if (limited.rc !== 0) throw new Error(`max_mem: ${limited.rc}`)
  if (
    populate(
      dom0,
      domain,
      Array.from({ length: pages - 1 }, (_, i) => i + 1),
    ) !==
    pages - 1
  )
    throw new Error('populate')
  const started = domctl(dom0, XEN_DOMCTL.unpausedomain, domain, xen_domctl)
  if (started.rc !== 0) throw new Error(`unpause: ${started.rc}`)
  return new Guest(booted.get(domain)!)
}

/** `XENMEM_populate_physmap` of order 0: extents done. */
export function populate(dom0: Guest, domid: number, pfns: readonly number[]): number {
  const extent_start = BigInt(dom0.putU64(pfns))
  return dom0.op('memory_op', XENMEM.populate_physmap, xen_memory_reservation, {
    extent_start,
    nr_extents: BigInt(pfns.length),
    domid,
  }).rc
}

export interface Limits {
  readonly spaces?: number
  readonly pinned?: number
  readonly tablePages?: number
  readonly deferred?: number
  readonly age?: number
  readonly kind?: number
  readonly permissions?: number
}

/** `set_limits` with the fields that are given; unsafe interrupts are allowed unless said otherwise. */
export function setLimits(dom0: Guest, domid: number, limits: Limits): number {
  const { spaces, pinned, tablePages, deferred, age, kind, permissions = LIMIT_PERMISSION.UNSAFE_INTERRUPTS } = limits
  const flag = (value: number | undefined, bit: number): number => (value === undefined ? 0 : bit)
  const F = SET_LIMITS_FLAGS
  return dom0.op('iommu_op', IOMMU_OP.set_limits, iommu_set_limits, {
    size: iommu_set_limits.size,
    flags:
      flag(spaces, F.SPACES) |
      flag(pinned, F.PINNED) |
      flag(tablePages, F.TABLE_PAGES) |
      flag(deferred, F.DEFERRED_ENTRIES) |
      flag(age, F.DEFERRED_AGE) |
      flag(kind, F.DEFAULT_KIND) |
      F.PERMISSIONS,
    domid,
    max_spaces: spaces ?? 0,
    max_pinned: BigInt(pinned ?? 0),
    max_table_pages: BigInt(tablePages ?? 0),
    max_deferred: deferred ?? 0,
    max_deferred_age: BigInt(age ?? 0),
    default_kind: kind ?? 0,
    permissions,
  }).rc
}

export const resetDevice = (dom0: Guest, sbdf: number): number =>
  dom0.op('physdev_op', PHYSDEVOP.pci_device_reset, pci_device_reset, {
    dev: { seg: sbdf >>> 16, bus: (sbdf >>> 8) & 0xff, devfn: sbdf & 0xff },
    flags: 3,
  }).rc

export const assignment = (dom0: Guest, cmd: number, domid: number, sbdf: number, flags = 0): number =>
  domctl(dom0, cmd, domid, domctl_assign_device, { dev: 0, flags, machine_sbdf: sbdf }).rc

/** Resets and assigns; the guest may then use and map. */
export function give(rig: Rig, guest: Guest, index: number, limits: Limits = {}): void {
  const { sbdf } = deviceOf(rig, index)
  const rc = setLimits(rig.dom0, guest.domid, { spaces: 4, pinned: 1024, tablePages: 512, ...limits })
  if (rc !== 0) throw new Error(`set_limits: ${rc}`)
  if (resetDevice(rig.dom0, sbdf) !== 0) throw new Error('reset')
  const assigned = assignment(rig.dom0, XEN_DOMCTL.assign_device, guest.domid, sbdf)
  if (assigned !== 0) throw new Error(`assign: ${assigned}`)
  guest.view.configWrite(sbdf, 4, 2, 6)
}

export const deviceOf = (rig: Rig, index: number) => ({ sbdf: rig.devices[index]!.bdf, device: rig.devices[index]! })

/** A sub-op of iommu_op with its size filled in. */
export function iommuOp<F extends Fields>(
  guest: Guest,
  sub: number,
  struct: Struct<F>,
  value: Partial<ValueOf<F>>,
): { rc: number; out: ValueOf<F> } {
  return guest.op('iommu_op', sub, struct, { size: struct.size, domid: DOMID.SELF, ...value } as Partial<ValueOf<F>>)
}
