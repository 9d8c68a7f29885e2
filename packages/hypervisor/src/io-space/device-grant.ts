/**
 * The device half of a `GNTTABOP` map where the default space is empty: the hypervisor picks an address below 4 GiB, which every device can
 * send. (With a mirror devices reach the frame at its machine address.)
 */
import { Mark } from './mark.ts'
import type { Core } from '../core.ts'
import type { Space } from './space.ts'

const LIMIT = 2 ** 20

/** Maps frame `index`, which is pinned; its I/O page, or −1 when there is no address or table page. */
export function mapDeviceGrant(core: Core, space: Space, index: number, readonly: boolean): number {
  const page = space.addresses.find(1, LIMIT, 0, -1)
  if (page < 0) return -1
  // What the hardware has no entry for: a device that nothing confines reaches the page with every right anyway.
  const exact = !readonly || core.driver!.capabilities.readOnly
  if (!exact && core.confines) return -1
  const access = readonly && exact ? Mark.read : Mark.read | Mark.write
  if (space.store(page, core.mfn(index), 1, access, true) !== 0) return -1
  space.mark(page, index, access | Mark.start | Mark.end | Mark.grant | Mark.device)
  core.books.mappingsMade++
  core.books.pagesMapped++
  core.machine.trace?.map(core.clock.now, space.domain.domid, space.id, page * 4096, 1)
  return page
}

/** Clears the entry and queues its invalidation; the address stays taken until {@link forgetDeviceGrant}. False: nothing changed. */
export function clearDeviceGrant(space: Space, page: number): boolean {
  if (space.clear(page, 1) !== 0) return false
  space.queue(page, 1)
  space.setPending(page)
  space.noteUnmapped(page, 1)
  return true
}

/** The invalidation is complete: the address is free. */
export function forgetDeviceGrant(space: Space, page: number): void {
  // Gone with its space, if that went meanwhile.
  if (space.pages.get(page) === 0) return
  space.forget(page)
  space.addresses.freed(page, 1)
}
