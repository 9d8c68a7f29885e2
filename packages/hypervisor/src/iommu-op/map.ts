/**
 * Sub-op 7, `map`: a list of mappings. A list stops at its first failure: what is before it took effect, what is behind it is untouched. With
 * ALL_OR_NOTHING everything that can fail is done for all elements before the first is stored.
 */
import { Errno, MAP_FLAGS, iommu_map } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { completeInvalidations } from '../io-space/invalidate.ts'
import { findSpace } from './find-space.ts'
import { mapAtomic } from './map-atomic.ts'
import { MapBatch } from './map-batch.ts'
import { mapPages } from './map-pages.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { ALL_OR_NOTHING } = MAP_FLAGS
const DONE = iommu_map.offsets.done

const { words } = iommu_map
/** Elements between preemption points. */
const BETWEEN_CHECKS = 64

export function map(call: Call, domain: Domain): number {
  const { core, elements, words: w } = call
  const base = call.at >>> 2
  const space = findSpace(core, domain, w[base + words.space]! >>> 0)
  if (typeof space === 'number') return space
  const batch = (call.mapBatch ??= new MapBatch(call))
  batch.begin(space)
  if ((w[base + words.flags]! & ALL_OR_NOTHING) !== 0) return mapAtomic(call, space, batch)
  let rc = 0
  let done = 0
  let check = BETWEEN_CHECKS
  while (done < elements.count) {
    if (done < check) done = mapPages(call, space, done, Math.min(elements.count, check))
    if (done === elements.count) break
    if (done < check || batch.chainGoesOn(done)) {
      rc = batch.map(done)
      if (rc !== 0) break
      done++
    } else {
      // Never inside a chain: what follows has its address already.
      check = done + BETWEEN_CHECKS
      core.preempt()
      if (space.dead) return -Errno.EAGAIN
    }
  }
  batch.endChain()
  call.argument.write32(core.memory, DONE, done)
  if (space.driver.capabilities.invalidateOnMap && !completeInvalidations(core)) return -Errno.EIO
  return rc
}
