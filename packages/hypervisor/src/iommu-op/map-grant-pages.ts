/**
 * The short way for the elements that back-ends send by far the most: a grant mapped at an address that the hypervisor picks, with an access
 * that the hardware can express. An element is mapped and answered, or left to the long way, which also says what is wrong. Hot: words only,
 * counters once per run.
 */
import { GNTST, MAP_GRANT_ELEMENT_FLAGS as Flag, iommu_map_grant_element as element } from '@iospace/abi'
import { PAGE_SIZE } from '@iospace/machine'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { Use, pinGrant, unpinGrant } from '../grant-table/pin.ts'
import { Mark, PAYLOAD_SHIFT } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { ANY } = Flag
const PAGE = PAGE_SIZE
const OKAY = GNTST.okay
const DEVICE_USE = Use.device
const { write: WRITE, start: START, end: END, grant: GRANT } = Mark
const SHIFT = PAYLOAD_SHIFT
const E = element.words
const SIZE = element.size
const WORDS = SIZE / 4
const ACCESS_SHIFT = element.shifts.access
const MARKS = START | END | GRANT
const IO_ADDRESS = element.words.io_address
const HANDLE = element.words.handle
const STATUS = element.words.status
const ERROR = element.words.error

/** Maps elements from `first` on, before `end`: the first that it left alone. */
export function mapGrantPages(call: Call, space: Space, first: number, end: number): number {
  const { core, domain, driver, table, addresses, grants, exactAccess } = space
  const { elements, list, words: w } = call
  if (elements.stride !== SIZE || driver.capabilities.invalidateOnMap) return first
  const { books, heap, memory, domains } = core
  const until = Math.min(end, first + domain.limits.maxPinned - domain.pinned)
  const { trace } = core.machine
  let limitLow = 0
  let limitHigh = 0
  let limit = space.limitPage(0, 0)
  let i = first
  for (let at = (call.listAt >>> 2) + first * WORDS; i < until; i++, at += WORDS) {
    const who = w[at + E.domid]!
    const access = who >>> ACCESS_SHIFT
    // Bit 0 of exactAccess is never set, so access 0 falls out, too.
    if (w[at + E.flags] !== ANY || access > 3 || ((exactAccess >>> access) & 1) === 0) break
    const granter: Domain | undefined = domains[who & 0xffff]
    if (granter === undefined || granter.dying || granter.life === 'dead') break
    const slot = grants.allocate(domain)
    if (slot < 0) break
    const ref = w[at + E.ref]! >>> 0
    const readonly = (access & WRITE) === 0
    if (pinGrant(core, granter, ref, domain, readonly, DEVICE_USE) !== OKAY) {
      grants.free(domain, slot)
      break
    }
    // One limit for all of a list, as a rule.
    if (w[at + E.limit]! !== limitLow || w[at + E.limit + 1]! !== limitHigh) {
      limitLow = w[at + E.limit]!
      limitHigh = w[at + E.limit + 1]!
      limit = space.limitPage(limitLow, limitHigh)
    }
    const page = addresses.claimOne(limit, (slot << SHIFT) | access | MARKS)
    heap.payer = domain
    const mapped =
      page >= 0 &&
      driver.map(table, page >>> 20, page << 12, core.mfn(granter.grants.frame[ref]!), 1, access, true) === 0
    heap.payer = null
    if (!mapped) {
      if (page >= 0) {
        space.pages.take(page)
        addresses.freed(page, 1)
      }
      unpinGrant(core, granter, ref, readonly, DEVICE_USE)
      grants.free(domain, slot)
      break
    }
    grants.domid[slot] = who
    grants.ref[slot] = ref
    grants.readonly[slot] = readonly ? 1 : 0
    grants.page[slot] = page
    const handle = grants.handle(slot)
    const out = list.offsetOf(i * SIZE)
    if ((out & 3) === 0 && (out & (PAGE - 1)) <= PAGE - SIZE) {
      const answer = out >>> 2
      w[answer + IO_ADDRESS] = page << 12
      w[answer + IO_ADDRESS + 1] = page >>> 20
      w[answer + HANDLE] = handle
      w[answer + STATUS] = access << 16
      w[answer + ERROR] = 0
    } else {
      list.write32(memory, i * SIZE + IO_ADDRESS * 4, page << 12)
      list.write32(memory, i * SIZE + IO_ADDRESS * 4 + 4, page >>> 20)
      list.write32(memory, i * SIZE + HANDLE * 4, handle)
      list.write32(memory, i * SIZE + STATUS * 4, access << 16)
      list.write32(memory, i * SIZE + ERROR * 4, 0)
    }
    if (trace !== null) trace.map(core.clock.now, domain.domid, space.id, page * 4096, 1)
  }
  const made = i - first
  space.mapped += made
  domain.pinned += made
  books.mappingsMade += made
  books.pagesMapped += made
  return i
}
