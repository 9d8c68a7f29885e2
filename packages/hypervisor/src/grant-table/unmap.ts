/**
 * `GNTTABOP_unmap_grant_ref`: a batch in three steps, so that there is one invalidation: what the caller and its devices could reach goes; the
 * invalidation completes; then the references, pins and handles go. Source: xen/common/grant_table.c (unmap_common, GNTTAB_UNMAP_BATCH_SIZE).
 */
import { GNTMAP, GNTST, gnttab_unmap_grant_ref as unmap } from '@iospace/abi'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'
import { clearDeviceGrant, forgetDeviceGrant } from '../io-space/device-grant.ts'
import { completeInvalidations } from '../io-space/invalidate.ts'
import type { Space } from '../io-space/space.ts'
import { hostSlot } from './map.ts'
import { Use, unpinGrant } from './pin.ts'

const { words } = unmap

/** Elements of one batch. */
export const UNMAP_BATCH = 32

export class UnmapBatch {
  readonly #core: Core
  #mapper!: Domain
  readonly #handle = new Int32Array(UNMAP_BATCH)
  /** GNTMAP parts that the element ends; 0: none. */
  readonly #ended = new Uint8Array(UNMAP_BATCH)
  /** 1: the handle goes with this element. */
  readonly #last = new Uint8Array(UNMAP_BATCH)
  readonly #at = new Int32Array(UNMAP_BATCH)
  #count = 0
  #invalidate = false

  constructor(core: Core) {
    this.#core = core
  }

  /** Begins an empty batch of `mapper`. */
  begin(mapper: Domain): this {
    this.#mapper = mapper
    this.#count = 0
    this.#invalidate = false
    return this
  }

  /** Ends what the element at word `at` names, as far as reaching it goes; writes its status. */
  add(w: Int32Array, at: number): void {
    const handle = w[at + words.handle]! >>> 0
    const bus = w[at + words.dev_bus_addr]! !== 0 || w[at + words.dev_bus_addr + 1]! !== 0
    const host = w[at + words.host_addr]! !== 0 || w[at + words.host_addr + 1]! !== 0
    const slot = host ? hostSlot(w[at + words.host_addr]!, w[at + words.host_addr + 1]!) : -1
    const page = bus ? busPage(w[at + words.dev_bus_addr]!, w[at + words.dev_bus_addr + 1]!) : -1
    const status = this.end(handle, host, slot, bus, page)
    this.#at[this.#count - 1] = at
    setStatus(w, at, status)
  }

  /** The same by values: `slot` is checked with `host`, `page` with `bus`. GNTST. */
  end(handle: number, host: boolean, slot: number, bus: boolean, page: number): number {
    const core = this.#core
    const mapper = this.#mapper
    const { maptrack } = mapper
    const n = this.#count++
    this.#handle[n] = handle
    this.#ended[n] = 0
    this.#last[n] = 0
    this.#at[n] = -1
    if (!maptrack.valid(handle)) return GNTST.bad_handle
    const granter = core.domains[maptrack.domid[handle]!]!
    const index = granter.grants.frame[maptrack.ref[handle]!]!
    const flags = maptrack.flags[handle]!
    const ioPage = maptrack.ioPage[handle]!
    if (bus && page !== (ioPage >= 0 ? ioPage : core.mfn(index))) return GNTST.bad_dev_addr
    const parts = flags & (GNTMAP.host_map | GNTMAP.device_map)
    const ended = parts & ((host ? GNTMAP.host_map : 0) | (bus ? GNTMAP.device_map : 0))
    const endsHost = (ended & GNTMAP.host_map) !== 0
    if (endsHost && (slot !== maptrack.pfn[handle] || mapper.p2m.frame(slot) !== index)) return GNTST.general_error
    // The handle, and with it the mirror's entry, goes with the last part (XSA-394).
    const gone = ended !== 0 && ended === parts
    if ((ended & GNTMAP.device_map) !== 0 && ioPage >= 0) {
      if (!clearDeviceGrant(mapper.spaces.get(0)!, ioPage)) return GNTST.general_error
      this.#invalidate = true
    }
    if (gone && mapper.mirror !== null && granter !== mapper) {
      if (!mapper.mirror.dropGrant(index, (flags & GNTMAP.readonly) !== 0)) return GNTST.general_error
      this.#invalidate = true
    }
    if (endsHost) mapper.p2m.clear(slot)
    maptrack.flags[handle] = flags & ~ended
    this.#ended[n] = ended
    this.#last[n] = gone ? 1 : 0
    return GNTST.okay
  }

  /** Ends both parts of a live handle. */
  endAll(handle: number): void {
    const { maptrack } = this.#mapper
    const ioPage = maptrack.ioPage[handle]!
    const granter = this.#core.domains[maptrack.domid[handle]!]!
    const page = ioPage >= 0 ? ioPage : this.#core.mfn(granter.grants.frame[maptrack.ref[handle]!]!)
    this.end(handle, true, maptrack.pfn[handle]!, true, page)
  }

  /** Completes the invalidation and lets everything go. Elements whose invalidation failed stay in use and say so. */
  finish(w: Int32Array | null): void {
    const core = this.#core
    const mapper = this.#mapper
    const complete = !this.#invalidate || completeInvalidations(core)
    const space = mapper.spaces.get(0)
    for (let n = 0; n < this.#count; n++) {
      const ended = this.#ended[n]!
      if (ended === 0) continue
      const handle = this.#handle[n]!
      const last = this.#last[n] === 1
      if (complete) release(core, mapper, space, handle, ended, last)
      else {
        mapper.stuck++
        core.devices.afterReset(mapper, () => {
          mapper.stuck--
          release(core, mapper, space, handle, ended, last)
        })
        if (w !== null && this.#at[n]! >= 0) setStatus(w, this.#at[n]!, GNTST.general_error)
      }
    }
    this.#count = 0
    this.#invalidate = false
  }
}

function release(
  core: Core,
  mapper: Domain,
  space: Space | undefined,
  handle: number,
  ended: number,
  last: boolean,
): void {
  const { maptrack } = mapper
  const granter = core.domains[maptrack.domid[handle]!]!
  const readonly = (maptrack.flags[handle]! & GNTMAP.readonly) !== 0
  const use = ((ended & GNTMAP.host_map) === 0 ? 0 : Use.host) | ((ended & GNTMAP.device_map) === 0 ? 0 : Use.device)
  const ref = maptrack.ref[handle]!
  const ioPage = maptrack.ioPage[handle]!
  if ((ended & GNTMAP.device_map) !== 0 && ioPage >= 0) forgetDeviceGrant(space!, ioPage)
  if (last) {
    maptrack.free(handle)
    core.books.grantMapsEnded++
  }
  unpinGrant(core, granter, ref, readonly, use)
}

function busPage(lo: number, hi: number): number {
  return hi >>> 11 !== 0 || (lo & 0xfff) !== 0 ? -2 : (hi * 2 ** 32 + (lo >>> 0)) / 4096
}

function setStatus(w: Int32Array, at: number, status: number): void {
  w[at + words.status] =
    (w[at + words.status]! & ~(0xffff << unmap.shifts.status)) | ((status & 0xffff) << unmap.shifts.status)
}
