/**
 * The elements of one `map`: prepares an element (checks in the order of precedence, references, address, quota), stores it, answers it. One
 * per call in progress, reused. Hot: words only, nothing allocated per element.
 */
import { ACCESS, Errno, MAP_ELEMENT_FLAGS as Flag, iommu_map_element as element } from '@iospace/abi'
import type { Call } from '../call.ts'
import { Mark } from '../io-space/mark.ts'
import type { Space } from '../io-space/space.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const { ANY, FOLLOWS, WIDEN, EXACT_SIZE } = Flag
const READ_ACCESS = ACCESS.READ
const BOTH = ACCESS.READ | ACCESS.WRITE
const { start: START, end: END } = Mark

const E = element.words
const SIZE = element.size
const FLAGS_SHIFT = element.shifts.flags
const BOUNDARY_SHIFT = element.shifts.boundary
const ORDER_SHIFT = element.shifts.page_order
const KNOWN_FLAGS = ANY | FOLLOWS | EXACT_SIZE | WIDEN
const KNOWN_ACCESS = ACCESS.READ | ACCESS.WRITE | ACCESS.MMIO
/** Pages of the whole 64-bit address space. */
const ALL_PAGES = 2 ** 52
/** From this wish on a large page may be used: 2 MiB. */
const LARGE_ORDER = 9

/** An element that was prepared and is not stored yet. */
export interface Prepared {
  readonly page: number
  readonly pages: number
  readonly mfn: number
  readonly access: number
  readonly follows: boolean
  readonly exact4k: boolean
}

export class MapBatch {
  declare private readonly call: Call
  #space!: Space
  /** The element that was prepared last. */
  page = -1
  pages = 0
  mfn = 0
  access = 0
  follows = false
  #exact4k = true
  /** Stored pages of the chain, for the trace. */
  #madeFrom = -1
  #madeTo = 0
  /** The page behind what the chain has so far (−1: no chain), and its limit (exclusive). */
  #chainNext = -1
  #chainLimit = 0
  /** The chain's address was picked for all of it: what follows is free. */
  #chainPicked = false

  constructor(call: Call) {
    this.call = call
  }

  begin(space: Space): void {
    this.#space = space
    this.#madeFrom = -1
    this.#chainNext = -1
  }

  /** Maps element `i` and answers it: 0 or a negative errno with nothing changed. */
  map(i: number): number {
    let rc = this.prepare(i)
    if (rc === 0) {
      rc = this.store()
      if (rc !== 0) this.unprepare()
    }
    this.answer(i, rc)
    return rc
  }

  /** Checks element `i`, takes its references, finds its address. On success {@link store} or {@link unprepare} must follow. */
  prepare(i: number): number {
    const call = this.call
    const space = this.#space
    const w = call.words
    const at = this.#wordOf(i)
    const flags = w[at + E.flags]! >>> FLAGS_SHIFT
    const wrong = this.#malformed(i, at, flags)
    if (wrong !== 0) return wrong
    const pagesHi = w[at + E.pages + 1]!
    const pagesLo = w[at + E.pages]!
    const pages = (pagesHi >>> 0) * 2 ** 32 + (pagesLo >>> 0)
    let page = -1
    let limit = this.#chainLimit
    if ((flags & FOLLOWS) !== 0) {
      page = this.#chainNext
      if (page + pages > limit) return -Errno.ERANGE
    } else {
      limit = space.limitPage(w[at + E.limit]!, w[at + E.limit + 1]!)
      if ((flags & ANY) === 0) {
        page = (w[at + E.io_address + 1]! >>> 0) * 2 ** 20 + (w[at + E.io_address]! >>> 12)
        if (page + pages > ALL_PAGES) return -Errno.EOVERFLOW
        if (page < space.window.first || page + pages > limit) return -Errno.ERANGE
      }
    }
    if (page >= 0 && !((flags & FOLLOWS) !== 0 && this.#chainPicked)) {
      const taken = space.checkFree(page, pages)
      if (taken !== 0) return taken
    }
    const access = this.#grantable(w[at + E.access]! & BOTH, (flags & WIDEN) !== 0)
    const mfn = w[at + E.gfn + 1] === 0 ? w[at + E.gfn]! : -1
    const refused = this.#reference(mfn, pages, access)
    if (refused !== 0) return refused
    if ((flags & ANY) !== 0) {
      const total = pages + this.#chainBehind(i)
      const shape = w[at + E.align]!
      // More pages than there are frames cannot be a chain that succeeds: no search of the whole window for it.
      if (total <= space.core.frames.frames)
        page = space.addresses.find(
          total,
          limit,
          alignBits(shape & 0xff),
          boundaryBits((shape >>> BOUNDARY_SHIFT) & 0xff),
        )
    }
    const rc =
      page < 0 ? -Errno.ENOSPC : space.domain.pinned + pages > space.domain.limits.maxPinned ? -Errno.ENOBUFS : 0
    if (rc !== 0) {
      this.#unreference(mfn, pages, access)
      return rc
    }
    this.page = page
    this.pages = pages
    this.mfn = mfn
    this.access = access
    this.follows = (flags & FOLLOWS) !== 0
    this.#exact4k = ((w[at + E.page_order]! >>> ORDER_SHIFT) & 0xff) < LARGE_ORDER
    if (!this.follows) {
      this.#chainLimit = limit
      this.#chainPicked = (flags & ANY) !== 0
    }
    this.#chainNext = page + pages
    return 0
  }

  /** Stores what was prepared. On failure it is still prepared. */
  store(): number {
    const space = this.#space
    const { page, pages, mfn } = this
    const rc = space.store(page, mfn, pages, this.access, this.#exact4k)
    if (rc !== 0) return rc
    const { books, memory } = space.core
    const index = memory.frameIndex(mfn)
    let marks = this.access
    if (this.follows) space.pages.unmark(page - 1, END)
    else {
      this.endChain()
      this.#madeFrom = page
      marks |= START
      books.mappingsMade++
    }
    this.#madeTo = page + pages
    for (let i = 0; i < pages - 1; i++) {
      space.mark(page + i, index + i, marks)
      marks &= ~START
    }
    space.mark(page + pages - 1, index + pages - 1, marks | END)
    space.domain.pinned += pages
    books.pagesMapped += pages
    return 0
  }

  /** Drops the references that {@link prepare} took. */
  unprepare(): void {
    this.#unreference(this.mfn, this.pages, this.access)
    this.#chainNext = this.page
  }

  /** What was prepared, to be stored later. */
  keep(): Prepared {
    const { page, pages, mfn, access, follows } = this
    return { page, pages, mfn, access, follows, exact4k: this.#exact4k }
  }

  /** Takes up what {@link keep} gave. */
  resume(kept: Prepared): void {
    this.page = kept.page
    this.pages = kept.pages
    this.mfn = kept.mfn
    this.access = kept.access
    this.follows = kept.follows
    this.#exact4k = kept.exact4k
  }

  /** Nothing of the chain came to be. */
  dropChain(): void {
    this.#madeFrom = -1
  }

  /** True when element `i` follows the one before it. */
  chainGoesOn(i: number): boolean {
    const { words: w, elements } = this.call
    return i < elements.count && ((w[this.#wordOf(i) + E.flags]! >>> FLAGS_SHIFT) & FOLLOWS) !== 0
  }

  /** What was stored since the last call is a mapping: tells the trace. */
  endChain(): void {
    const { core, id, domain } = this.#space
    const { trace } = core.machine
    if (trace !== null && this.#madeFrom >= 0)
      trace.map(core.clock.now, domain.domid, id, this.#madeFrom * 4096, this.#madeTo - this.#madeFrom)
    this.#madeFrom = -1
  }

  /** Writes the OUT fields of element `i`. */
  answer(i: number, rc: number): void {
    const call = this.call
    const { memory } = call.core
    const { list } = call
    const at = i * call.elements.stride
    list.write32(memory, at + element.offsets.status, rc)
    if (rc !== 0) return
    const chosen = (call.words[this.#wordOf(i) + E.flags]! >>> FLAGS_SHIFT) & (ANY | FOLLOWS)
    if (chosen !== 0) {
      list.write32(memory, at + element.offsets.io_address, this.page << 12)
      list.write32(memory, at + element.offsets.io_address + 4, this.page >>> 20)
    }
    // The other half of its word is padding, which is zero.
    list.write32(memory, at + element.offsets.granted, this.access)
    memory.bytes[list.offsetOf(at + element.offsets.page_order)] = 0
  }

  #malformed(i: number, at: number, flags: number): number {
    const { words: w, elements } = this.call
    const shape = w[at + E.align]!
    const access = w[at + E.access]! & 0xffff
    const chosen = flags & (ANY | FOLLOWS)
    if (elements.unknownTail(i, SIZE)) return -Errno.E2BIG
    if (chosen === 0 && (w[at + E.io_address]! & 0xfff) !== 0) return -Errno.EINVAL
    if ((w[at + E.pages]! | w[at + E.pages + 1]!) === 0) return -Errno.EINVAL
    if ((access & ~KNOWN_ACCESS) !== 0 || (access & BOTH) === 0) return -Errno.EINVAL
    // Registers of other devices as targets: not in this version.
    if ((access & ACCESS.MMIO) !== 0) return -Errno.EOPNOTSUPP
    if ((flags & ~KNOWN_FLAGS) !== 0) return -Errno.EOPNOTSUPP
    if (chosen === (ANY | FOLLOWS)) return -Errno.EINVAL
    if (chosen === FOLLOWS && this.#chainNext < 0) return -Errno.EINVAL
    const boundary = (shape >>> BOUNDARY_SHIFT) & 0xff
    if ((shape & 0xff) > 63 || boundary > 63 || (boundary > 0 && boundary < 12)) return -Errno.EINVAL
    if (shape >>> 24 !== 0 || w[at + E.granted]! >>> 16 !== 0) return -Errno.EINVAL
    // A promise of larger pages needs the tables' own word for it.
    if ((flags & EXACT_SIZE) !== 0 && ((shape >>> ORDER_SHIFT) & 0xff) !== 0) return -Errno.EOPNOTSUPP
    return 0
  }

  /** The access that the hardware can express for `access`; 0 when it needs WIDEN and may not. */
  #grantable(access: number, widen: boolean): number {
    const { readOnly, writeOnly } = this.#space.driver.capabilities
    const exact = access === BOTH || (access === READ_ACCESS ? readOnly : writeOnly)
    return exact ? access : widen ? BOTH : 0
  }

  #reference(mfn: number, pages: number, access: number): number {
    const space = this.#space
    const { memory, frames } = space.core
    const first = memory.frameIndex(mfn)
    if (pages > frames.frames || memory.frameIndex(mfn + pages - 1) !== first + pages - 1 || first < 0)
      return -Errno.ENXIO
    for (let i = 0; i < pages; i++) {
      const rc =
        access === 0 && frames.belongsTo(first + i, space.domain.domid)
          ? -Errno.EACCES
          : space.reference(first + i, access)
      if (rc === 0) continue
      this.#unreference(mfn, i, access)
      return rc
    }
    return 0
  }

  #unreference(mfn: number, pages: number, access: number): void {
    const first = this.#space.core.memory.frameIndex(mfn)
    for (let i = 0; i < pages; i++) this.#space.unreference(first + i, access)
  }

  /** Pages of the elements that follow element `i` directly. */
  #chainBehind(i: number): number {
    const { words: w } = this.call
    let total = 0
    for (let j = i + 1; this.chainGoesOn(j); j++) {
      const at = this.#wordOf(j)
      total += (w[at + E.pages + 1]! >>> 0) * 2 ** 32 + (w[at + E.pages]! >>> 0)
    }
    return total
  }

  #wordOf(i: number): number {
    return (this.call.listAt + i * SIZE) >>> 2
  }
}

/** From log2 of bytes to log2 of pages. */
function alignBits(bits: number): number {
  return bits > 12 ? bits - 12 : 0
}

function boundaryBits(bits: number): number {
  return bits === 0 ? -1 : bits - 12
}
