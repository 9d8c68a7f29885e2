/**
 * The short way of unmap_grant: a handle that lives, in an element that is as it should be. Cleared and answered, or left to the long way, which
 * also says what is wrong. Hot: words only, counters once per run.
 */
import { iommu_unmap_grant_element as element } from '@iospace/abi'
import { PAGE_SIZE } from '@iospace/machine'
import type { Call } from '../call.ts'
import { Mark } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const PAGE = PAGE_SIZE
const { start: START, end: END, grant: GRANT, pending: PENDING } = Mark
const E = element.words
const SIZE = element.size
const WORDS = SIZE / 4
const WHOLE_GRANT = START | END | GRANT
const KIND = WHOLE_GRANT | PENDING

/** Clears elements from `first` on, before `end`: the first that it left alone. */
export function unmapGrantPages(call: Call, space: Space, first: number, end: number): number {
  const { core, driver, table, pages, grants, deferred } = space
  const { elements, list, words: w } = call
  if (elements.stride !== SIZE) return first
  const { trace } = core.machine
  core.heap.payer = space.domain
  let i = first
  for (let at = (call.listAt >>> 2) + first * WORDS; i < end; i++, at += WORDS) {
    // Padding.
    if (w[at + E.status]! >>> 16 !== 0 || w[at + E.error + 1] !== 0) break
    const slot = grants.slot(w[at + E.handle]! >>> 0)
    if (slot < 0) break
    const page = grants.page[slot]!
    if (!pages.mark(page, KIND, WHOLE_GRANT, PENDING)) break
    if (driver.unmap(table, page >>> 20, page << 12, 1) !== 0) {
      pages.unmark(page, PENDING)
      break
    }
    deferred.add(page, 1)
    const out = list.offsetOf(i * SIZE)
    if ((out & 3) === 0 && (out & (PAGE - 1)) <= PAGE - SIZE) {
      // The other half of its word is padding, which is zero; and so is GNTST_okay.
      w[(out >>> 2) + E.status] = 0
      w[(out >>> 2) + E.error] = 0
    } else {
      list.write32(core.memory, i * SIZE + E.status * 4, 0)
      list.write32(core.memory, i * SIZE + E.error * 4, 0)
    }
    if (trace !== null) trace.unmap(core.clock.now, space.domain.domid, space.id, page * 4096, 1)
  }
  core.heap.payer = null
  core.books.mappingsEnded += i - first
  core.books.pagesUnmapped += i - first
  return i
}
