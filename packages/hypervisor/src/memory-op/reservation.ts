/** Giving a domain memory and taking it back, extent by extent. */
import type { Value } from '@iospace/wire'
import type { xen_memory_reservation } from '@iospace/abi'
import type { Call } from '../call.ts'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { showMappings } from '../io-space/invalidate.ts'
import { SlotKind } from '../p2m.ts'

type Reservation = Value<typeof xen_memory_reservation>

/** Largest extent that may be asked for: 2 MiB for guests, as in Xen. */
const MAX_ORDER = 9
const CONTROL_MAX_ORDER = 18

/** Allocates frames; with `place`, into the slots (pfns) of the list. Writes the machine frames into the list. Returns extents done. */
export function populate(call: Call, domain: Domain, reservation: Reservation, place: boolean): number {
  const { core, caller } = call
  const order = reservation.extent_order
  if (order > (caller.privileged ? CONTROL_MAX_ORDER : MAX_ORDER)) return 0
  const start = Number(reservation.extent_start)
  const extents = Number(reservation.nr_extents)
  const addressBits = reservation.mem_flags & 0xff || 64
  for (let done = 0; done < extents; done++) {
    const pfn = place ? call.readU64(start + 8 * done) : -1
    if (place && pfn < 0) return done
    // The answer must be writable before the frames are taken.
    if (start !== 0 && !core.guest.writable(caller.p2m, start + 8 * done, 8)) return done
    const index = give(core, domain, order, addressBits, pfn)
    if (index < 0) return done
    if (start !== 0) call.writeU64(start + 8 * done, core.mfn(index))
    if (domain.mirror !== null) showMappings(core)
    core.preempt()
    if (domain.dying || caller.dying) return done
  }
  return extents
}

/** 2^`order` frames for `domain`, into slots from `pfn` (−1: into none). The first frame, or −1 with nothing changed. */
export function give(core: Core, domain: Domain, order: number, addressBits: number, pfn: number): number {
  const { frames } = core
  const count = 1 << order
  if (frames.owned[domain.domid]! + count > domain.maxPages) return -1
  for (let i = 0; pfn >= 0 && i < count; i++) if (!domain.p2m.vacant(pfn + i)) return -1
  if (order === 0) return giveOne(core, domain, addressBits, pfn)
  const index = frames.allocateRun(domain.domid, order, addressBits)
  if (index < 0) return -1
  const taken = Array.from({ length: count }, (_, i) => index + i)
  if (!enterMirror(core, domain, taken)) return -1
  for (let i = 0; pfn >= 0 && i < count; i++) domain.p2m.set(pfn + i, index + i, SlotKind.memory)
  return index
}

/** {@link give} of one frame: what every page of a new domain comes through, so without lists. */
function giveOne({ frames }: Core, { domid, mirror, p2m }: Domain, addressBits: number, pfn: number): number {
  const index = frames.allocate(domid, addressBits)
  if (index < 0) return -1
  if (mirror !== null && !mirror.addOwn(index)) {
    frames.release(index)
    return -1
  }
  if (pfn >= 0) p2m.set(pfn, index, SlotKind.memory)
  return index
}

/** Enters fresh frames into the domain's mirror, if it has one; false, with the frames given up, when they do not fit. */
export function enterMirror({ frames }: Core, { mirror }: Domain, fresh: readonly number[]): boolean {
  if (mirror === null) return true
  const refused = fresh.findIndex((index) => !mirror.addOwn(index))
  if (refused < 0) return true
  for (const index of fresh.slice(refused)) frames.release(index)
  mirror.withdraw(fresh.slice(0, refused))
  return false
}

/** Takes back the machine frames of the list. Returns extents done. */
export function decrease(call: Call, domain: Domain, reservation: Reservation): number {
  const { core } = call
  const order = reservation.extent_order
  if (order > (call.caller.privileged ? CONTROL_MAX_ORDER : MAX_ORDER)) return 0
  const start = Number(reservation.extent_start)
  const extents = Number(reservation.nr_extents)
  for (let done = 0; done < extents; done++) {
    const mfn = call.readU64(start + 8 * done)
    if (mfn < 0) return done
    for (let i = 0; i < 2 ** order; i++) if (!takeBack(core, domain, core.memory.frameIndex(mfn + i))) return done
    core.preempt()
    if (domain.dying) return done
  }
  return extents
}

/** Takes frame `index` back from its owner; false when it is not the domain's, is pinned, or a device could not be kept from it. */
export function takeBack(core: Core, domain: Domain, index: number): boolean {
  if (!core.frames.belongsTo(index, domain.domid) || core.frames.pinned(index)) return false
  // Devices first: the entry goes, and its invalidation is complete, before the slot or the reference does.
  if (domain.mirror !== null && !(domain.mirror.removeOwn(index) && domain.mirror.complete())) return false
  const pfn = domain.p2m.find(index)
  if (pfn >= 0) domain.p2m.clear(pfn)
  core.frames.release(index)
  return true
}
