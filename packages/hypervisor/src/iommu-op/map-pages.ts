/**
 * The short way for the elements that drivers send by far the most: one page, its address picked by the hypervisor, no wishes. An element is
 * mapped and answered, or left to the long way, which also says what is wrong. Hot: words only, counters once per run.
 */
import { MAP_ELEMENT_FLAGS as Flag, iommu_map_element as element } from '@iospace/abi'
import type { Call } from '../call.ts'
import { Mark, PAYLOAD_SHIFT } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { ANY, FOLLOWS } = Flag
const { write: WRITE, start: START, end: END } = Mark
const SHIFT = PAYLOAD_SHIFT
const E = element.words
const SIZE = element.size
const WORDS = SIZE / 4
const FLAGS_SHIFT = element.shifts.flags
const WHOLE = START | END
const IO_ADDRESS = element.words.io_address
const STATUS = element.words.status
const GRANTED = element.words.granted

/** A word index that is known to be below 2^30 needs no overflow check where a field's index is added. */
const INDEX = 0x3fff_ffff

/** Maps elements from `first` on, before `end`: the first that it left alone. */
export function mapPages(call: Call, space: Space, first: number, end: number): number {
  const { core, domain, driver, table, addresses, exactAccess } = space
  const { elements, list, words: w } = call
  if (elements.stride !== SIZE || driver.capabilities.invalidateOnMap) return first
  const { frames, memory, heap, books } = core
  const { domid } = domain
  const last = elements.count - 1
  const until = Math.min(end, first + domain.limits.maxPinned - domain.pinned)
  const { trace } = core.machine
  heap.payer = domain
  // Elements of one call have one limit, mostly.
  let limitLow = 0
  let limitHigh = 0
  let limit = space.limitPage(0, 0)
  let i = first
  for (let at = (call.listAt >>> 2) + first * WORDS; i < until; i++, at += WORDS) {
    const e = at & INDEX
    const packed = w[e + E.access]!
    const access = packed & 0xffff
    // Bit 0 of exactAccess is never set, so access 0 falls out, too.
    if (packed >>> FLAGS_SHIFT !== ANY || access > 3 || ((exactAccess >>> access) & 1) === 0) break
    // One page of a frame number below 2^32; no alignment, boundary or page size; no padding.
    if (
      w[e + E.pages] !== 1 ||
      (w[e + E.pages + 1]! | w[e + E.gfn + 1]! | w[e + E.align]! | (w[e + E.granted]! >>> 16)) !== 0
    )
      break
    if (i < last && ((w[e + WORDS + E.flags]! >>> FLAGS_SHIFT) & FOLLOWS) !== 0) break
    const mfn = w[e + E.gfn]!
    const index = memory.frameIndex(mfn)
    const write = (access & WRITE) !== 0
    if (frames.acquire(index, domid, write) !== 0) break
    if (w[e + E.limit] !== limitLow || w[e + E.limit + 1] !== limitHigh) {
      limitLow = w[e + E.limit]!
      limitHigh = w[e + E.limit + 1]!
      limit = space.limitPage(limitLow, limitHigh)
    }
    const page = addresses.claimOne(limit, (index << SHIFT) | access | WHOLE)
    if (page < 0) {
      frames.drop(index, write)
      break
    }
    if (driver.map(table, page >>> 20, page << 12, mfn, 1, access, true) !== 0) {
      space.pages.take(page)
      addresses.freed(page, 1)
      frames.drop(index, write)
      break
    }
    const answer = list.wordOf(i * SIZE, SIZE)
    if (answer >= 0) {
      w[answer + IO_ADDRESS] = page << 12
      w[answer + IO_ADDRESS + 1] = page >>> 20
      w[answer + STATUS] = 0
      w[answer + GRANTED] = access
    } else {
      list.write32(memory, i * SIZE + IO_ADDRESS * 4, page << 12)
      list.write32(memory, i * SIZE + IO_ADDRESS * 4 + 4, page >>> 20)
      list.write32(memory, i * SIZE + STATUS * 4, 0)
      list.write32(memory, i * SIZE + GRANTED * 4, access)
    }
    if (trace !== null) trace.map(core.clock.now, domid, space.id, page * 4096, 1)
  }
  heap.payer = null
  const made = i - first
  space.mapped += made
  domain.pinned += made
  books.mappingsMade += made
  books.pagesMapped += made
  return i
}
