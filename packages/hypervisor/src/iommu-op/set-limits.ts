/** Sub-op 20, `set_limits`: what a domain may use. A limit below present use stops growth and takes nothing away. */
import { DEFAULT_KIND, Errno, LIMIT_PERMISSION, SET_LIMITS_FLAGS as Flag, iommu_set_limits } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { decode } from './argument.ts'

const KNOWN_PERMISSIONS = LIMIT_PERMISSION.UNSAFE_PASSTHROUGH | LIMIT_PERMISSION.UNSAFE_INTERRUPTS

export function setLimits(call: Call, domain: Domain): number {
  const value = decode(call, iommu_set_limits)
  const { flags } = value
  const { limits } = domain
  const unset: readonly [number, number | bigint][] = [
    [Flag.SPACES, value.max_spaces],
    [Flag.PINNED, value.max_pinned],
    [Flag.TABLE_PAGES, value.max_table_pages],
    [Flag.DEFERRED_ENTRIES, value.max_deferred],
    [Flag.DEFERRED_AGE, value.max_deferred_age],
    [Flag.DEFAULT_KIND, value.default_kind],
    [Flag.PERMISSIONS, value.permissions],
  ]
  for (const [flag, field] of unset) if ((flags & flag) === 0 && Number(field) !== 0) return -Errno.EINVAL
  if (value.default_kind !== DEFAULT_KIND.MIRROR && value.default_kind !== DEFAULT_KIND.EMPTY) return -Errno.EINVAL
  if ((value.permissions & ~KNOWN_PERMISSIONS) !== 0) return -Errno.EOPNOTSUPP
  if ((flags & Flag.DEFAULT_KIND) !== 0) {
    if (domain.defaultSettled && value.default_kind !== domain.defaultKind) return -Errno.EBUSY
    domain.defaultKind = value.default_kind
  }
  if ((flags & Flag.SPACES) !== 0) limits.maxSpaces = value.max_spaces
  if ((flags & Flag.PINNED) !== 0) limits.maxPinned = Number(value.max_pinned)
  if ((flags & Flag.TABLE_PAGES) !== 0) limits.maxTablePages = Number(value.max_table_pages)
  if ((flags & Flag.DEFERRED_ENTRIES) !== 0) limits.maxDeferred = value.max_deferred
  if ((flags & Flag.DEFERRED_AGE) !== 0) limits.maxDeferredAge = Number(value.max_deferred_age)
  if ((flags & Flag.PERMISSIONS) !== 0) limits.permissions = value.permissions
  return 0
}
