import { DEFAULT_KIND, IOMMU_OP, iommu_set_limits, LIMIT_PERMISSION, SET_LIMITS_FLAGS } from '@iospace/abi'
import type { Kernel } from '@iospace/linux'

/** What a domain may use of the IOMMU: the policy half of the interface, dom0's to decide. */
export interface IommuLimits {
  /** I/O spaces besides the default one. */
  readonly spaces: number
  /** Pinned frames, 4 KiB each per mapping. */
  readonly pinned: number
  readonly tablePages: number
  /** Unmapped ranges whose invalidation may be pending, and ns until one is completed; 0 entries: unmapping is always strict. */
  readonly deferred: number
  readonly deferredAge: number
  /** What its space 0 starts as. */
  readonly defaultSpace: keyof typeof DEFAULT_KIND
  /** It may have devices that nothing confines: on a machine without an IOMMU, or in a group that is the whole machine. */
  readonly unsafePassthrough: boolean
  /** It may have devices that can forge interrupts. */
  readonly unsafeInterrupts: boolean
}

/** Enough for a storage or network back-end; strict invalidation, and nothing unsafe. */
export const DEFAULT_LIMITS: IommuLimits = {
  spaces: 4,
  pinned: 65536,
  tablePages: 1024,
  deferred: 0,
  // 10 ms, as Linux's flush queue.
  deferredAge: 10e6,
  defaultSpace: 'MIRROR',
  unsafePassthrough: false,
  unsafeInterrupts: false,
}

/** Sets the limits of `domid`, before it has devices. 0 or a negative errno. */
export function setLimits(kernel: Kernel, domid: number, limits: IommuLimits): number {
  const {
    SPACES,
    PINNED,
    TABLE_PAGES,
    DEFERRED_ENTRIES,
    DEFERRED_AGE,
    DEFAULT_KIND: KIND,
    PERMISSIONS,
  } = SET_LIMITS_FLAGS
  const permissions =
    (limits.unsafePassthrough ? LIMIT_PERMISSION.UNSAFE_PASSTHROUGH : 0) |
    (limits.unsafeInterrupts ? LIMIT_PERMISSION.UNSAFE_INTERRUPTS : 0)
  return kernel.hypercalls.call('iommu_op', IOMMU_OP.set_limits, iommu_set_limits, {
    ...iommu_set_limits.zero(),
    size: iommu_set_limits.size,
    flags: SPACES | PINNED | TABLE_PAGES | DEFERRED_ENTRIES | DEFERRED_AGE | KIND | PERMISSIONS,
    domid,
    max_spaces: limits.spaces,
    max_pinned: BigInt(limits.pinned),
    max_table_pages: BigInt(limits.tablePages),
    max_deferred: limits.deferred,
    max_deferred_age: BigInt(limits.deferredAge),
    default_kind: DEFAULT_KIND[limits.defaultSpace],
    permissions,
  })
}
