/** Waiting for the unit: the one place that decides what a failed invalidation means. */
import { DriverStatus } from '@iospace/iommu/driver'
import type { Core } from '../core.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const OK = DriverStatus.ok

/** True when everything that was queued is complete. False: the unit does not answer, and everything behind it has been fenced. */
export function completeInvalidations(core: Core): boolean {
  if (core.driver === null || core.driver.completeInvalidations() === OK) return true
  core.devices.fenceAll()
  return false
}

/**
 * Lets devices see what was mapped, where the unit may know that nothing was there. Nothing need be undone when it does not answer: everything is
 * fenced until it has forgotten that.
 */
export function showMappings(core: Core): void {
  if (core.driver !== null && core.driver.capabilities.invalidateOnMap) completeInvalidations(core)
}
