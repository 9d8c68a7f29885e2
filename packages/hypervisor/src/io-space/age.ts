/** Pending invalidations do not get older than the domain's limit: a timer interrupt completes them. */
import type { Core } from '../core.ts'
import type { Space } from './space.ts'

/** The hypervisor's own timer interrupt. */
export const AGE_VECTOR = 0xf1

/** Has the oldest entry of `space` completed in time. */
export function armAge(core: Core, space: Space): void {
  const { maxDeferredAge } = space.domain.limits
  if (maxDeferredAge === 0 || space.ageArmed) return
  space.ageArmed = true
  const due = Math.max(0, space.deferred.since + maxDeferredAge - core.clock.now)
  // Taken as an interrupt, so that it never runs inside a hypercall.
  core.clock.after(due, () => core.machine.interrupts.message(AGE_VECTOR))
}

/** The timer went off: completes what is old enough. */
export function completeAged(core: Core): void {
  for (const domain of core.domains) {
    if (domain === undefined) continue
    for (const space of domain.spaces) {
      if (!space.ageArmed) continue
      space.ageArmed = false
      if (space.deferred.entries === 0) continue
      if (core.clock.now - space.deferred.since >= space.domain.limits.maxDeferredAge) space.deferred.complete()
      else armAge(core, space)
    }
  }
}
