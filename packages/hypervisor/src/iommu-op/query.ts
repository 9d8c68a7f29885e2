/** Sub-op 0, `query`: what there is, what the domain may use of it, and what it uses. */
import { IOMMU_ABI_VERSION, IOMMU_FEATURE, IOMMU_MAGIC, iommu_query } from '@iospace/abi'
import type { IommuCapabilities } from '@iospace/iommu/driver'
import { type Call, MAX_ATOMIC, MAX_BATCH } from '../call.ts'
import type { Domain } from '../domain.ts'
import { accessKinds, hardwareKind } from '../io-space/capabilities.ts'
import { MAX_IO_BITS } from '../io-space/space.ts'
import { answer, decode } from './argument.ts'

export function query(call: Call, domain: Domain): number {
  const { driver } = call.core
  const value = decode(call, iommu_query)
  const { limits } = domain
  value.magic = IOMMU_MAGIC
  value.version = IOMMU_ABI_VERSION
  value.hardware_kind = hardwareKind(driver?.capabilities ?? null)
  value.features = BigInt(driver === null ? 0 : features(driver.capabilities, domain))
  value.page_sizes = BigInt(driver?.capabilities.pageSizes ?? 0)
  value.address_width = driver === null ? 0 : Math.min(driver.capabilities.addressBits, MAX_IO_BITS)
  value.access_kinds = driver === null ? 0 : accessKinds(driver.capabilities)
  value.max_batch = MAX_BATCH
  value.max_atomic = MAX_ATOMIC
  value.default_kind = domain.defaultKind
  value.max_spaces = limits.maxSpaces
  value.spaces = domain.spaceCount
  value.max_deferred = limits.maxDeferred
  value.max_pinned = BigInt(limits.maxPinned)
  value.pinned = BigInt(domain.pinned)
  value.max_table_pages = BigInt(limits.maxTablePages)
  value.table_pages = BigInt(domain.tablePages)
  value.max_deferred_age = BigInt(limits.maxDeferredAge)
  value.deferred = domain.deferred
  value.pending = BigInt(pendingPages(domain))
  value.stuck = BigInt(domain.stuck)
  const { size: _size, flags: _flags, domid: _domid, ...out } = value
  answer(call, iommu_query, value, ...(Object.keys(out) as (keyof typeof out)[]))
  return 0
}

function features(capabilities: IommuCapabilities, domain: Domain): number {
  return (
    (capabilities.interruptIsolation ? IOMMU_FEATURE.INTERRUPTS_ISOLATED : 0) |
    (capabilities.dirtyBits ? IOMMU_FEATURE.DIRTY_EXACT : 0) |
    (capabilities.granularity === 'none' ? 0 : IOMMU_FEATURE.BLOCKING) |
    (capabilities.granularity === 'function' ? IOMMU_FEATURE.HITLESS_ATTACH : 0) |
    (capabilities.faultRecords ? IOMMU_FEATURE.FAULT_REPORTS : 0) |
    (domain.limits.maxDeferred > 0 ? IOMMU_FEATURE.DEFERRED : 0)
  )
}

function pendingPages(domain: Domain): number {
  let pages = 0
  for (const { deferred } of domain.spaces) pages += deferred.pages
  return pages
}
