/**
 * Taking a granted frame into use and letting it go: the one way for host maps, device maps and I/O-space maps alike. Marks the granter's
 * shared entry by compare-exchange, counts per kind of use, and references the frame. Source: xen/common/grant_table.c.
 */
import { Errno, GNTST, GRANT_ENTRIES_PER_FRAME, GTF, grant_entry_v1 } from '@iospace/abi'
import type { Core } from '../core.ts'
import type { Domain } from '../domain.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { reading: READING, writing: WRITING, type_mask: TYPE_MASK, permit_access: PERMIT, readonly: READONLY } = GTF
const OKAY = GNTST.okay
const { bad_page: BAD_PAGE, general_error: GENERAL_ERROR } = GNTST
const NOT_ITS = -Errno.ENXIO
/** Entries of a grant frame are a power of two. */
const FRAME_SHIFT = Math.log2(GRANT_ENTRIES_PER_FRAME)
const ENTRY_MASK = GRANT_ENTRIES_PER_FRAME - 1
const ENTRY_SIZE = grant_entry_v1.size
const FRAME_OFFSET = grant_entry_v1.offsets.frame

/** One use of each kind, in the four 8-bit counters of a pin. */
const HOST_WRITE = 1
const HOST_READ = 1 << 8
const DEVICE_WRITE = 1 << 16
const DEVICE_READ = 1 << 24
const WRITES = 0x00ff_00ff
/** A counter with its top bit set takes no more: at most 128 uses of a kind. */
const FULL = 0x8080_8080
/** A granter that keeps changing its entry must not keep the hypervisor busy. */
const TRIES = 5

/** Who uses a frame. Both at once is a map with a host and a device part. */
export const Use = { host: 1, device: 2 } as const
const USE_HOST = Use.host
const USE_DEVICE = Use.device

/**
 * Takes grant `ref` of `granter` into use by `mapper`: references of the frame for each part of `use`, reading/writing set in the entry.
 * GNTST; unless it is okay nothing changed. The frame is then `granter.grants.frame[ref]`.
 */
export function pinGrant(
  core: Core,
  granter: Domain,
  ref: number,
  mapper: Domain,
  readonly: boolean,
  use: number,
): number {
  const { grants } = granter
  const { frames } = core
  if (ref >= grants.entries) return GNTST.bad_gntref
  const pin = grants.pin[ref]!
  if (pin !== 0 && (grants.mapper[ref] !== mapper.domid || (pin & FULL) !== 0)) return GENERAL_ERROR
  const marks = (pin === 0 ? READING : 0) | (!readonly && (pin & WRITES) === 0 ? WRITING : 0)
  if (marks !== 0) {
    const status = markEntry(core, granter, ref, mapper.domid, pin === 0, readonly)
    if (status !== OKAY) return status
  }
  let held = 0
  if (pin === 0) {
    // Read once: from here on the entry's frame no longer matters.
    const index = core.memory.frameIndex(entryWord(core, granter, ref, FRAME_OFFSET))
    const acquired = frames.acquire(index, granter.domid, !readonly)
    if (acquired !== 0) {
      clearMarks(core, granter, ref, marks)
      return acquired === NOT_ITS ? BAD_PAGE : GENERAL_ERROR
    }
    grants.frame[ref] = index
    grants.mapper[ref] = mapper.domid
    held = 1
  }
  const index = grants.frame[ref]!
  const parts = use === (USE_HOST | USE_DEVICE) ? 2 : 1
  for (let part = held; part < parts; part++) {
    if (!readonly && !frames.getWritable(index)) {
      for (; part > 0; part--) frames.drop(index, true)
      clearMarks(core, granter, ref, marks)
      return GENERAL_ERROR
    }
    frames.hold(index)
  }
  grants.pin[ref] = pin + one(readonly, use)
  return OKAY
}

/** Ends what one {@link pinGrant} with the same arguments began. */
export function unpinGrant(core: Core, granter: Domain, ref: number, readonly: boolean, use: number): void {
  const { grants } = granter
  const index = grants.frame[ref]!
  const pin = (grants.pin[ref]! - one(readonly, use)) >>> 0
  grants.pin[ref] = pin
  let clear = 0
  if (!readonly && (pin & WRITES) === 0) clear |= WRITING
  if (pin === 0) clear |= READING
  if (clear !== 0) clearMarks(core, granter, ref, clear)
  // Last: this may free the granter's last frame, and with it the granter.
  const parts = use === (USE_HOST | USE_DEVICE) ? 2 : 1
  for (let part = 0; part < parts; part++) core.frames.drop(index, !readonly)
}

function one(readonly: boolean, use: number): number {
  return (
    ((use & USE_HOST) === 0 ? 0 : readonly ? HOST_READ : HOST_WRITE) +
    ((use & USE_DEVICE) === 0 ? 0 : readonly ? DEVICE_READ : DEVICE_WRITE)
  )
}

function entryAt(ref: number): number {
  return (ref & ENTRY_MASK) * ENTRY_SIZE
}

function entryWord(core: Core, granter: Domain, ref: number, offset: number): number {
  return core.guest.load32(granter.grants.frames[ref >>> FRAME_SHIFT]!, entryAt(ref) + offset)
}

/** Checks type, domain and read-only of the entry and marks it, as one event on its first word. */
function markEntry(core: Core, granter: Domain, ref: number, domid: number, fresh: boolean, readonly: boolean): number {
  const frame = granter.grants.frames[ref >>> FRAME_SHIFT]!
  const at = entryAt(ref)
  let word = core.guest.load32(frame, at)
  for (let tries = 0; tries < TRIES; tries++) {
    const flags = word & 0xffff
    if (fresh && ((flags & TYPE_MASK) !== PERMIT || word >>> 16 !== domid)) return GNTST.general_error
    if (!readonly && (flags & READONLY) !== 0) return GNTST.general_error
    const old = core.guest.compareExchange32(frame, at, word, word | READING | (readonly ? 0 : WRITING))
    if (old === word) return OKAY
    word = old
  }
  return GNTST.general_error
}

function clearMarks(core: Core, granter: Domain, ref: number, marks: number): void {
  const frame = granter.grants.frames[ref >>> FRAME_SHIFT]!
  const at = entryAt(ref)
  for (;;) {
    const word = core.guest.load32(frame, at)
    if (core.guest.compareExchange32(frame, at, word, word & ~marks) === word) return
  }
}
