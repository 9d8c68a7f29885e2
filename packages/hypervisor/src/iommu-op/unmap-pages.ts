/**
 * The short way for the elements that drivers send by far the most: a mapping of one page of the domain's own. An element is cleared and
 * answered, or left to the long way, which also says what is wrong. Hot: words only, counters once per run.
 */
import { iommu_unmap_element as element } from '@iospace/abi'
import type { Call } from '../call.ts'
import { Mark } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { start: START, end: END, grant: GRANT, pending: PENDING } = Mark
const E = element.words
const SIZE = element.size
const WORDS = SIZE / 4
const WHOLE = START | END
const KIND = WHOLE | GRANT | PENDING
const STATUS = element.words.status
const DONE = element.words.done

/** A word index that is known to be below 2^30 needs no overflow check where a field's index is added. */
const INDEX = 0x3fff_ffff

/** Clears elements from `first` on, before `end`: the first that it left alone. */
export function unmapPages(call: Call, space: Space, first: number, end: number): number {
  const { core, driver, table, pages, deferred, window } = space
  const { elements, list, words: w } = call
  if (elements.stride !== SIZE) return first
  const { trace } = core.machine
  core.heap.payer = space.domain
  let i = first
  for (let at = (call.listAt >>> 2) + first * WORDS; i < end; i++, at += WORDS) {
    const e = at & INDEX
    const lo = w[e + E.io_address]!
    const hi = w[e + E.io_address + 1]!
    if (w[e + E.pages] !== 1 || w[e + E.pages + 1] !== 0 || (lo & 0xfff) !== 0 || hi >>> 11 !== 0) break
    const page = (hi << 20) | (lo >>> 12)
    if (page >= window.end || !pages.mark(page, KIND, WHOLE, PENDING)) break
    if (driver.unmap(table, hi, lo, 1) !== 0) {
      pages.unmark(page, PENDING)
      break
    }
    deferred.add(page, 1)
    const answer = list.wordOf(i * SIZE, SIZE)
    if (answer >= 0) {
      w[answer + STATUS] = 0
      w[answer + DONE] = 1
    } else {
      list.write32(core.memory, i * SIZE + STATUS * 4, 0)
      list.write32(core.memory, i * SIZE + DONE * 4, 1)
    }
    if (trace !== null) trace.unmap(core.clock.now, space.domain.domid, space.id, page * 4096, 1)
  }
  core.heap.payer = null
  core.books.mappingsEnded += i - first
  core.books.pagesUnmapped += i - first
  return i
}
