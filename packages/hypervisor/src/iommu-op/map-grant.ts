/**
 * Sub-op 10, `map_grant`: frames that other domains granted, into a space of the caller, one page each. The grant is pinned as for any device
 * map, so the granter cannot end it before unmap_grant. Hot: words only.
 */
import {
  ACCESS,
  Errno,
  GNTST,
  MAP_GRANT_ELEMENT_FLAGS as ElementFlag,
  MAP_GRANT_FLAGS as Flag,
  iommu_map_grant,
  iommu_map_grant_element as element,
} from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Domain } from '../domain.ts'
import { Use, pinGrant, unpinGrant } from '../grant-table/pin.ts'
import { completeInvalidations } from '../io-space/invalidate.ts'
import { Mark, PAYLOAD_SHIFT } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'
import { findSpace } from './find-space.ts'
import { GNTST_ERRNO } from './grant-errno.ts'
import { mapGrantPages } from './map-grant-pages.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const SHIFT = PAYLOAD_SHIFT
const { CONTINUE } = Flag
const { ANY, WIDEN } = ElementFlag
const READ_ACCESS = ACCESS.READ
const WRITE_ACCESS = ACCESS.WRITE
const BOTH = READ_ACCESS | WRITE_ACCESS
const OKAY = GNTST.okay
const DEVICE_USE = Use.device
const SIZE = element.size
const DONE = iommu_map_grant.offsets.done
const { io_address: OUT_IO_ADDRESS, handle: OUT_HANDLE, status: OUT_STATUS, error: OUT_ERROR } = element.offsets
const { start: START, end: END, grant: GRANT } = Mark

const { words } = iommu_map_grant
const E = element.words
const SIZE_WORDS = element.size / 4
const ACCESS_SHIFT = element.shifts.access
const KNOWN_FLAGS = ANY | WIDEN
const BETWEEN_CHECKS = 64
const ALL_PAGES = 2 ** 52

export function mapGrant(call: Call, domain: Domain): number {
  const { core, elements, words: w } = call
  const base = call.at >>> 2
  const space = findSpace(core, domain, w[base + words.space]! >>> 0)
  if (typeof space === 'number') return space
  const goOn = (w[base + words.flags]! & CONTINUE) !== 0
  let rc = 0
  let done = 0
  for (let i = 0; i < elements.count;) {
    const stop = Math.min(elements.count, i + BETWEEN_CHECKS - (i % BETWEEN_CHECKS))
    const next = mapGrantPages(call, space, i, stop)
    done += next - i
    i = next
    if (i < stop) {
      const error = mapElement(call, space, i++)
      if (error === 0) done++
      else if (!goOn) {
        rc = error
        break
      }
    }
    if (i % BETWEEN_CHECKS === 0) {
      core.preempt()
      if (space.dead) return -Errno.EAGAIN
    }
  }
  call.argument.write32(core.memory, DONE, done)
  if (space.driver.capabilities.invalidateOnMap && !completeInvalidations(core)) return -Errno.EIO
  return rc
}

/** Maps element `i` and writes its OUT fields: 0 or a negative errno. */
function mapElement(call: Call, space: Space, i: number): number {
  const w = call.words
  const at = (call.listAt >>> 2) + i * SIZE_WORDS
  const { memory } = call.core
  const { list } = call
  const out = i * call.elements.stride
  const wanted = (w[at + E.access]! >>> ACCESS_SHIFT) & 0xffff
  const access = grantable(space, wanted, w[at + E.flags]!)
  const any = (w[at + E.flags]! & ANY) !== 0
  const page = any ? -1 : (w[at + E.io_address + 1]! >>> 0) * 2 ** 20 + (w[at + E.io_address]! >>> 12)
  let error = malformed(call, i, at, wanted)
  if (error === 0 && !any) error = explicit(space, page)
  if (error === 0 && access === 0) error = -Errno.EACCES
  if (error !== 0) {
    answer(call, out, GNTST.general_error, 0, error)
    return error
  }
  const status = enter(call, space, at, page, wanted, access)
  if (status < 0) {
    error = enterError === 0 ? GNTST_ERRNO[-status]! : enterError
    answer(call, out, status, 0, error)
    return error
  }
  const slot = status
  const mappedAt = space.grants.page[slot]!
  if (any) {
    list.write32(memory, out + OUT_IO_ADDRESS, mappedAt << 12)
    list.write32(memory, out + OUT_IO_ADDRESS + 4, mappedAt >>> 20)
  }
  list.write32(memory, out + OUT_HANDLE, space.grants.handle(slot))
  answer(call, out, OKAY, access, 0)
  return 0
}

/** The errno of the last {@link enter} that failed, where its grant status alone does not say it; else 0. */
let enterError = 0

/** Pins, places, stores: the slot of the handle, or a GNTST with nothing changed. `page` −1: the hypervisor picks. */
function enter(call: Call, space: Space, at: number, page: number, wanted: number, access: number): number {
  const { core, words: w } = call
  const { domain, grants } = space
  const ref = w[at + E.ref]! >>> 0
  const domid = w[at + E.domid]! & 0xffff
  enterError = 0
  const granter = core.domains[domid]
  if (granter === undefined || granter.life === 'dead') return GNTST.bad_domain
  if (granter.dying) return GNTST.general_error
  const slot = grants.allocate(domain)
  if (slot < 0) {
    enterError = -Errno.ENOBUFS
    return GNTST.no_space
  }
  // Where nothing confines the device it reaches the page with every right anyway, so a read-only grant loses nothing.
  const readonly = ((core.confines ? access : wanted) & WRITE_ACCESS) === 0
  const status = pinGrant(core, granter, ref, domain, readonly, DEVICE_USE)
  if (status !== OKAY) {
    grants.free(domain, slot)
    return status
  }
  const index = granter.grants.frame[ref]!
  const value = (slot << SHIFT) | access | START | END | GRANT
  const chosen =
    page < 0 ? space.addresses.claimOne(space.limitPage(w[at + E.limit]!, w[at + E.limit + 1]!), value) : page
  if (chosen < 0) enterError = -Errno.ENOSPC
  else if (domain.pinned >= domain.limits.maxPinned) enterError = -Errno.ENOBUFS
  else enterError = space.store(chosen, core.mfn(index), 1, access, true)
  if (enterError !== 0) {
    if (page < 0 && chosen >= 0) space.pages.take(chosen)
    unpinGrant(core, granter, ref, readonly, DEVICE_USE)
    grants.free(domain, slot)
    return chosen < 0 ? GNTST.no_device_space : GNTST.general_error
  }
  grants.domid[slot] = domid
  grants.ref[slot] = ref
  grants.readonly[slot] = readonly ? 1 : 0
  grants.page[slot] = chosen
  if (page >= 0) space.pages.set(chosen, value)
  space.mapped++
  domain.pinned++
  core.books.mappingsMade++
  core.books.pagesMapped++
  const { trace } = core.machine
  if (trace !== null) trace.map(core.clock.now, domain.domid, space.id, chosen * 4096, 1)
  return slot
}

function malformed(call: Call, i: number, at: number, wanted: number): number {
  const w = call.words
  const flags = w[at + E.flags]!
  if (call.elements.unknownTail(i, SIZE)) return -Errno.E2BIG
  if ((flags & ANY) === 0 && (w[at + E.io_address]! & 0xfff) !== 0) return -Errno.EINVAL
  // Granted frames are memory; MMIO is no access to them.
  if ((wanted & ~BOTH) !== 0 || wanted === 0) return -Errno.EINVAL
  return (flags & ~KNOWN_FLAGS) !== 0 ? -Errno.EOPNOTSUPP : 0
}

function explicit(space: Space, page: number): number {
  return page + 1 > ALL_PAGES ? -Errno.EOVERFLOW : space.checkFree(page, 1)
}

/** The access that the hardware can express; 0 when it needs WIDEN and may not. A read-only grant is not widened to write: pinning refuses. */
function grantable(space: Space, access: number, flags: number): number {
  const { readOnly, writeOnly } = space.driver.capabilities
  if (access === BOTH || (access === READ_ACCESS ? readOnly : writeOnly)) return access
  return (flags & WIDEN) !== 0 ? BOTH : 0
}

function answer(call: Call, out: number, status: number, granted: number, error: number): void {
  const { memory } = call.core
  call.list.write32(memory, out + OUT_STATUS, (status & 0xffff) | (granted << 16))
  call.list.write32(memory, out + OUT_ERROR, error)
}
