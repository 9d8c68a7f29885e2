/**
 * The grant table of this domain (Linux drivers/xen/grant-table.c, version 1 entries): how it lets another domain use its pages.
 * An entry is published and revoked in the order that `grant_entry_v1` gives.
 */
import {
  DOMID,
  gnttab_query_size,
  GNTTAB_NR_RESERVED_ENTRIES,
  GNTTABOP,
  GRANT_ENTRIES_PER_FRAME,
  grant_entry_v1,
  GTF,
  xen_add_to_physmap,
  XENMAPSPACE,
  XENMEM,
} from '@iospace/abi'
import { StateError } from '@iospace/wire'
import type { KernelMemory } from '../memory/kernel-memory.ts'
import type { PlatformMemory } from '../platform.ts'
import type { Hypercalls } from './hypercalls.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { reading: READING, writing: WRITING, permit_access: PERMIT_ACCESS, readonly: READONLY } = GTF

const FLAGS_WORD = grant_entry_v1.words.flags
const DOMID_SHIFT = grant_entry_v1.shifts.domid
const FRAME_WORD = grant_entry_v1.words.frame
const ENTRY_WORDS = grant_entry_v1.size / 4
const IN_USE = READING | WRITING
/** Entries of a grant frame are a power of two. */
const FRAME_SHIFT = Math.log2(GRANT_ENTRIES_PER_FRAME)
const ENTRY_MASK = GRANT_ENTRIES_PER_FRAME - 1

export class GrantTable {
  /** References are 0…`entries`−1. */
  readonly entries: number
  readonly #memory: PlatformMemory
  readonly #firstPfn: number
  /** Free references, taken from the end. */
  readonly #free: Int32Array
  readonly #granted: Uint8Array
  #freeCount = 0

  private constructor(memory: PlatformMemory, firstPfn: number, frames: number) {
    this.entries = frames * GRANT_ENTRIES_PER_FRAME
    this.#memory = memory
    this.#firstPfn = firstPfn
    this.#free = new Int32Array(this.entries)
    this.#granted = new Uint8Array(this.entries)
    for (let ref = this.entries - 1; ref >= GNTTAB_NR_RESERVED_ENTRIES; ref--) this.#free[this.#freeCount++] = ref
  }

  /** Maps up to `frames` grant frames into spare slots. StateError when the hypervisor gives none: the kernel cannot start. */
  static map(hypercalls: Hypercalls, memory: KernelMemory, frames: number): GrantTable {
    const size = { ...gnttab_query_size.zero(), dom: DOMID.SELF }
    hypercalls.callList('grant_table_op', GNTTABOP.query_size, gnttab_query_size, [size])
    const wanted = Math.min(frames, Math.max(1, size.max_nr_frames))
    const first = memory.slots.allocate(wanted)
    let mapped = 0
    for (; first >= 0 && mapped < wanted; mapped++) {
      const value = {
        domid: DOMID.SELF,
        size: 0,
        space: XENMAPSPACE.grant_table,
        idx: BigInt(mapped),
        gpfn: BigInt(first + mapped),
      }
      if (hypercalls.call('memory_op', XENMEM.add_to_physmap, xen_add_to_physmap, value) < 0) break
    }
    if (mapped === 0) throw new StateError('grant table', 'no grant frame could be mapped')
    return new GrantTable(memory.platform, first, mapped)
  }

  /** References not granted now. */
  get freeEntries(): number {
    return this.#freeCount
  }

  /** Lets domain `domid` map page `pfn`. The reference, or −1 when the table is full. */
  grantAccess(domid: number, pfn: number, readonly: boolean): number {
    if (this.#freeCount === 0) return -1
    const ref = this.#free[--this.#freeCount]!
    const { words } = this.#memory
    const entry = this.#entry(ref)
    const flags = readonly ? PERMIT_ACCESS | READONLY : PERMIT_ACCESS
    words[entry + FRAME_WORD] = this.#memory.machineFrame(pfn)
    words[entry + FLAGS_WORD] = domid << DOMID_SHIFT
    // Everything else must be visible before the type is: the hypervisor may look at any moment from here on.
    words[entry + FLAGS_WORD] = (domid << DOMID_SHIFT) | flags
    this.#granted[ref] = 1
    return ref
  }

  /** True while the other domain has the page mapped. */
  inUse(ref: number): boolean {
    return (this.#memory.words[this.#entry(ref)]! & IN_USE) !== 0
  }

  /** Ends a grant. False when the page is still mapped: then the grant stays, and so must the page. StateError when nothing was granted. */
  endAccess(ref: number): boolean {
    if (this.#granted[ref] !== 1) throw new StateError(`grant ${ref}`, 'is not granted')
    const { words } = this.#memory
    const entry = this.#entry(ref)
    if ((words[entry + FLAGS_WORD]! & IN_USE) !== 0) return false
    words[entry + FLAGS_WORD] = 0
    this.#granted[ref] = 0
    this.#free[this.#freeCount++] = ref
    return true
  }

  #entry(ref: number): number {
    const pfn = this.#firstPfn + (ref >>> FRAME_SHIFT)
    return (this.#memory.frameOffset(pfn) >>> 2) + (ref & ENTRY_MASK) * ENTRY_WORDS
  }
}
