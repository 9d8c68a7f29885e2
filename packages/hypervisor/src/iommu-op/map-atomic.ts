/** `map` with ALL_OR_NOTHING: every element is prepared and its addresses are taken, then all are stored. */
import { Errno, iommu_map } from '@iospace/abi'
import { type Call, MAX_ATOMIC } from '../call.ts'
import { completeInvalidations } from '../io-space/invalidate.ts'
import { Mark } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'
import type { MapBatch, Prepared } from './map-batch.ts'

const PAGES_PER_TABLE = 512

export function mapAtomic(call: Call, space: Space, batch: MapBatch): number {
  const { core, elements } = call
  if (elements.count > MAX_ATOMIC) return -Errno.E2BIG
  const prepared: Prepared[] = []
  let rc = 0
  for (let i = 0; i < elements.count && rc === 0; i++) {
    rc = batch.prepare(i)
    if (rc === 0) {
      prepared.push(batch.keep())
      // Taken and charged: neither the next element nor another vCPU may have them.
      for (let j = 0; j < batch.pages; j++) space.pages.set(batch.page + j, Mark.reserved)
      space.domain.pinned += batch.pages
    } else batch.answer(i, rc)
  }
  if (rc === 0 && tablePagesNeeded(space, prepared) > tablePagesLeft(space)) rc = -Errno.ENOMEM
  for (const kept of prepared) {
    for (let j = 0; j < kept.pages; j++) space.pages.set(kept.page + j, 0)
    space.domain.pinned -= kept.pages
  }
  let stored = 0
  for (; rc === 0 && stored < prepared.length; stored++) {
    batch.resume(prepared[stored]!)
    rc = batch.store()
    if (rc !== 0) break
  }
  if (rc !== 0) {
    undo(space, batch, prepared, stored)
    call.argument.write32(core.memory, iommu_map.offsets.done, 0)
    return rc
  }
  prepared.forEach((kept, i) => {
    batch.resume(kept)
    batch.answer(i, 0)
  })
  batch.endChain()
  call.argument.write32(core.memory, iommu_map.offsets.done, prepared.length)
  if (space.driver.capabilities.invalidateOnMap && !completeInvalidations(core)) return -Errno.EIO
  return 0
}

/** The worst case: a table of every level for each element, and one more per 2 MiB. Flat tables are all there. */
function tablePagesNeeded(space: Space, prepared: readonly Prepared[]): number {
  if (space.driver.capabilities.tableOrder > 0) return 0
  const levels = (space.addressBits - 12) / 9
  return prepared.reduce((sum, { pages }) => sum + levels + Math.ceil(pages / PAGES_PER_TABLE), 0)
}

function tablePagesLeft({ core, domain }: Space): number {
  return Math.min(core.frames.free, domain.limits.maxTablePages - domain.tablePages)
}

/** The first `stored` elements were stored: they go as any mapping does. The others only have references. */
function undo(space: Space, batch: MapBatch, prepared: readonly Prepared[], stored: number): void {
  const { books } = space.core
  prepared.forEach((kept, i) => {
    if (i >= stored) {
      batch.resume(kept)
      batch.unprepare()
      return
    }
    // One that cannot be cleared stays what it is: a mapping.
    if (space.clear(kept.page, kept.pages) !== 0) return
    for (let j = 0; j < kept.pages; j++) space.setPending(kept.page + j)
    space.deferred.add(kept.page, kept.pages)
    if (!kept.follows) books.mappingsMade--
    books.pagesMapped -= kept.pages
  })
  batch.dropChain()
  if (stored > 0) space.deferred.complete()
}
