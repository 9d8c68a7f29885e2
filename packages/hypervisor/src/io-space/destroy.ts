/** The end of a space: its devices are elsewhere or blocked; what it holds is let go after the invalidation of its whole table. */
import { DriverStatus } from '@iospace/iommu/driver'
import type { Core } from '../core.ts'
import { completeInvalidations } from './invalidate.ts'
import { Mark } from './mark.ts'
import { isMapped, type Space } from './space.ts'

const PAGES_BETWEEN_CHECKS = 512

/** True, or false when the unit does not answer: then everything stays held until a reset, and goes by itself. */
export function destroySpace(core: Core, space: Space): boolean {
  space.dead = true
  if (tryDestroy(core, space)) return true
  space.domain.stuck += space.mapped
  core.devices.afterReset(space.domain, () => {
    space.domain.stuck -= space.mapped
    destroySpace(core, space)
  })
  return false
}

function tryDestroy(core: Core, space: Space): boolean {
  if (core.devices.blocksPending) return false
  space.driver.queueTableInvalidation(space.table)
  if (!completeInvalidations(core)) return false
  // The tables go first: no entry may outlive the reference of its frame.
  if (space.driver.destroyTable(space.table) !== DriverStatus.ok) {
    core.devices.fenceAll()
    return false
  }
  letGo(core, space)
  return true
}

function letGo(core: Core, space: Space): void {
  let checked = 0
  for (let page = space.pages.nextTaken(0); page >= 0; page = space.pages.nextTaken(page + 1)) {
    const value = space.pages.get(page)
    if ((value & Mark.reserved) !== 0) space.pages.set(page, 0)
    else {
      if (isMapped(value) && (value & Mark.start) !== 0) space.noteUnmapped(page, space.lengthFrom(page))
      space.forget(page)
    }
    if (++checked % PAGES_BETWEEN_CHECKS === 0) core.preempt()
  }
  space.deferred.drop()
}
