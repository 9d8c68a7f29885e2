/**
 * Sub-op 8, `unmap`: ends whole mappings. The entries are cleared, then one wait completes their invalidation (unless it may stay pending), and
 * only then references and addresses are let go.
 */
import { Errno, UNMAP_FLAGS as Flag, iommu_unmap, iommu_unmap_element as element } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { ACCESS_BITS, Mark } from '../io-space/mark.ts'
import { type Space, isMapped } from '../io-space/space.ts'
import { finishUnmap, mayDefer } from './finish-unmap.ts'
import { findSpace } from './find-space.ts'
import { unmapPages } from './unmap-pages.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { CONTINUE, ALL, HOLES_OK, NO_FLUSH } = Flag
const SIZE = element.size
const STATUS = element.offsets.status
const ELEMENT_DONE = element.offsets.done
const DONE = iommu_unmap.offsets.done
const TICKET = iommu_unmap.offsets.ticket
const { start: START, end: END, grant: GRANT } = Mark
const ACCESS = ACCESS_BITS

const { words } = iommu_unmap
const E = element.words
const SIZE_WORDS = element.size / 4
const BETWEEN_CHECKS = 64
/** Pending ranges of a strict call. */
const MOST_PENDING = 1024
const ALL_PAGES = 2 ** 52

export function unmap(call: Call, domain: Domain): number {
  const { core, elements, words: w } = call
  const base = call.at >>> 2
  const flags = w[base + words.flags]!
  if ((flags & ALL) !== 0 && elements.count > 0) return -Errno.EINVAL
  const space = findSpace(core, domain, w[base + words.space]! >>> 0)
  if (typeof space === 'number') return space
  const defer = mayDefer(space, (flags & NO_FLUSH) !== 0)
  let rc = 0
  let done = 0
  if ((flags & ALL) !== 0) done = unmapAll(space, defer)
  if (space.dead) return -Errno.EAGAIN
  for (let i = 0; i < elements.count;) {
    const stop = Math.min(elements.count, i + BETWEEN_CHECKS - (i % BETWEEN_CHECKS))
    const next = unmapPages(call, space, i, stop)
    done += next - i
    i = next
    if (i < stop) {
      const result = unmapElement(call, space, i, (flags & HOLES_OK) !== 0)
      const at = i * elements.stride
      call.list.write32(core.memory, at + STATUS, Math.min(0, result))
      call.list.write32(core.memory, at + ELEMENT_DONE, Math.max(0, result))
      i++
      if (result >= 0) done++
      else if ((flags & CONTINUE) === 0) {
        rc = result
        break
      }
    }
    if (i % BETWEEN_CHECKS === 0 && i < elements.count) {
      core.preempt()
      if (space.dead) return -Errno.EAGAIN
    }
  }
  call.argument.write32(core.memory, DONE, done)
  const finished = finishUnmap(call, space, defer, TICKET)
  return finished !== 0 ? finished : rc
}

/** Clears what element `i` names: pages that were mapped and are no more, or a negative errno with nothing changed. */
function unmapElement(call: Call, space: Space, i: number, holesOk: boolean): number {
  const w = call.words
  const at = (call.listAt >>> 2) + i * SIZE_WORDS
  if (call.elements.unknownTail(i, SIZE)) return -Errno.E2BIG
  const lo = w[at + E.io_address]!
  const hi = w[at + E.io_address + 1]!
  const pages = (w[at + E.pages + 1]! >>> 0) * 2 ** 32 + (w[at + E.pages]! >>> 0)
  if ((lo & 0xfff) !== 0 || pages === 0) return -Errno.EINVAL
  const page = (hi >>> 0) * 2 ** 20 + (lo >>> 12)
  if (page + pages > ALL_PAGES) return -Errno.EOVERFLOW
  if (page < space.window.first || page + pages > space.window.end) return -Errno.ERANGE
  if (space.isReserved(page, pages)) return -Errno.EADDRNOTAVAIL
  const rc = check(space, page, pages, holesOk)
  return rc === 0 ? clearMappings(space, page, page + pages) : rc
}

/** Whether [`page`, `page` + `pages`) is whole mappings: 0, `EINVAL` (one would be split), `EBUSY`, `ENOENT` (a hole), `EACCES` (a grant). */
function check(space: Space, page: number, pages: number, holesOk: boolean): number {
  const first = space.pages.get(page)
  const last = space.pages.get(page + pages - 1)
  if (isMapped(first) && (first & START) === 0) return -Errno.EINVAL
  if (isMapped(last) && (last & END) === 0) return -Errno.EINVAL
  let hole = false
  let grant = false
  let at = page
  while (at < page + pages) {
    const value = space.pages.get(at)
    if (value !== 0 && (value & ACCESS) === 0) return -Errno.EBUSY
    if (isMapped(value)) {
      if ((value & GRANT) !== 0) grant = true
      at++
    } else {
      hole = true
      // Sparse ranges may be long: from one mapping to the next.
      const next = space.pages.nextTaken(at + 1)
      at = next < 0 ? page + pages : next
    }
  }
  if (hole && !holesOk) return -Errno.ENOENT
  return grant ? -Errno.EACCES : 0
}

/** Clears every mapping in [`page`, `end`), which are whole; how many pages they had. */
function clearMappings(space: Space, page: number, end: number): number {
  let cleared = 0
  for (let at = space.pages.nextTaken(page); at >= 0 && at < end; at = space.pages.nextTaken(at)) {
    if (isMapped(space.pages.get(at))) {
      const pages = space.lengthFrom(at)
      const done = clear(space, at, pages)
      if (done < 0) return cleared > 0 ? cleared : done
      cleared += pages
      at += pages
    } else at++
  }
  return cleared
}

/** Ends every mapping of the space but those of grants, which end by their handles; how many. */
function unmapAll(space: Space, defer: boolean): number {
  let ended = 0
  for (let at = space.pages.nextTaken(0); at >= 0; at = space.pages.nextTaken(at)) {
    const value = space.pages.get(at)
    const pages = isMapped(value) ? space.lengthFrom(at) : 1
    if (isMapped(value) && (value & GRANT) === 0 && clear(space, at, pages) >= 0) {
      if (++ended % BETWEEN_CHECKS === 0) space.core.preempt()
      if (space.dead) return ended
      // What is pending is kept in a list: a whole space at once would be a long one.
      if (!defer && space.deferred.entries >= MOST_PENDING && !space.deferred.complete()) return ended
    }
    at += pages
  }
  return ended
}

/** Clears one mapping; its pages, or `ENOMEM`. */
function clear(space: Space, page: number, pages: number): number {
  const rc = space.clear(page, pages)
  if (rc !== 0) return rc
  for (let i = 0; i < pages; i++) space.setPending(page + i)
  space.deferred.add(page, pages)
  space.noteUnmapped(page, pages)
  return pages
}
