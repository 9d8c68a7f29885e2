/**
 * A domain's pseudo-physical numbering: which frame stands in each slot (pfn), and as what. Slots beyond the domain's memory are spare:
 * grants, foreign pages, shared_info and grant frames are put there. There are no guest page tables, so this is also what a CPU of
 * the domain can reach.
 */

/** What a slot holds. */
export const SlotKind = {
  empty: 0,
  /** The domain's own memory. */
  memory: 1,
  /** A frame of another domain, mapped by privilege. */
  foreign: 2,
  /** A frame that another domain granted. */
  grant: 3,
  grantReadonly: 4,
  /** A hypervisor frame that is shared with the domain: shared_info, grant frames. */
  shared: 5,
} as const

const READONLY = SlotKind.grantReadonly

/** Slots beyond the most memory that a domain may have. */
export const SPARE_SLOTS = 4096

export class P2m {
  /** Frame index + 1 by pfn; 0 where the slot is empty. */
  slots: Int32Array
  /** {@link SlotKind} by pfn. */
  kinds: Uint8Array
  #hint = 0

  constructor(pages: number) {
    this.slots = new Int32Array(pages)
    this.kinds = new Uint8Array(pages)
  }

  get pages(): number {
    return this.slots.length
  }

  /** Makes the numbering at least `pages` long. */
  grow(pages: number): void {
    if (pages <= this.slots.length) return
    const { slots, kinds } = this
    this.slots = new Int32Array(pages)
    this.slots.set(slots)
    this.kinds = new Uint8Array(pages)
    this.kinds.set(kinds)
  }

  /** Frame index in slot `pfn`; −1 where it is empty or does not exist. */
  frame(pfn: number): number {
    return pfn >= 0 && pfn < this.slots.length ? this.slots[pfn]! - 1 : -1
  }

  /** {@link frame} of a slot that the domain may write; −1 for others, too. */
  writableFrame(pfn: number): number {
    const { slots } = this
    return pfn >= 0 && pfn < slots.length && this.kinds[pfn] !== READONLY ? slots[pfn]! - 1 : -1
  }

  kind(pfn: number): number {
    return pfn >= 0 && pfn < this.kinds.length ? this.kinds[pfn]! : SlotKind.empty
  }

  /** True when `pfn` exists and is empty. */
  vacant(pfn: number): boolean {
    return pfn >= 0 && pfn < this.slots.length && this.slots[pfn] === 0
  }

  set(pfn: number, index: number, kind: number): void {
    this.slots[pfn] = index + 1
    this.kinds[pfn] = kind
  }

  clear(pfn: number): void {
    this.slots[pfn] = 0
    this.kinds[pfn] = SlotKind.empty
  }

  /** The slot of the domain's own memory that holds frame `index`, or −1. Searches on from the last one found. */
  find(index: number): number {
    const { slots, kinds } = this
    for (let step = 0; step < slots.length; step++) {
      const pfn = (this.#hint + step) % slots.length
      if (slots[pfn] === index + 1 && kinds[pfn] === SlotKind.memory) {
        this.#hint = pfn
        return pfn
      }
    }
    return -1
  }
}
