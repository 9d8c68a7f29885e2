/**
 * What the hypervisor knows of every frame of RAM, in two words: who owns it, how many references hold it (general), what it is used
 * as (type), and how many references rely on that (type count). A frame that was given back has the links of its zone's free list there
 * instead; one that was never used has zeros, so that a large machine costs what it uses.
 *
 * Frames are named by *index* (0…frames−1, no hole) in here and in everything hot; `MachineMemory.frameAt` gives the machine frame number.
 * A type changes only at type count 0. A frame is freed when its general count falls to 0, which includes the owner's own reference.
 */
import { InvariantError } from '@iospace/wire'
import { HIGH_RAM_FRAME, PAGE_SIZE, type MachineMemory, type Random } from '@iospace/machine'
import { DOMID, Errno } from '@iospace/abi'
import { Shuffle } from './frame-shuffle.ts'

/** What a frame is used as. Page-table levels are numbered by themselves. Source: xen/arch/x86/include/asm/mm.h (PGT_*). */
export const FrameType = { none: 0, l1: 1, l2: 2, l3: 3, l4: 4, segment: 5, shared: 6, writable: 7 } as const

// info: 31 used, 30 the owner still has it (free: it is in the free list), 29–27 type, 26 pinned, 25–0 general count.
const USED = 1 << 31
const ALLOCATED = 1 << 30
const LISTED = 1 << 30
const TYPE_SHIFT = 27
const TYPE = 7 << TYPE_SHIFT
const PINNED = 1 << 26
const COUNT = PINNED - 1
const WRITABLE = FrameType.writable << TYPE_SHIFT
// holder: 31–17 owner, 16–0 type count.
const OWNER_SHIFT = 17
const TYPE_COUNT = (1 << OWNER_SHIFT) - 1
// Links of a frame in the free list: index + 1, 0 at the ends.

const LOW = 0
const HIGH = 1

export class FrameTable {
  declare private readonly memory: MachineMemory
  declare private readonly random: Random
  /** Info and holder of frame i at 2i and 2i + 1. */
  declare private readonly words: Int32Array
  declare readonly frames: number
  /** By zone: the free list, frames in it, frames never used, and the order in which those are. */
  readonly #head = new Int32Array(2)
  readonly #listed = new Int32Array(2)
  readonly #fresh = new Int32Array(2)
  declare private readonly order: readonly [Shuffle, Shuffle]
  /** Frames that each domain id owns, those included that only references keep alive. */
  readonly owned = new Int32Array(0x8000)
  /** Called when the last frame of `domid` has been freed. */
  onDrained: (domid: number) => void = () => undefined

  constructor(memory: MachineMemory, random: Random) {
    this.memory = memory
    this.random = random
    this.frames = memory.frames
    this.words = new Int32Array(2 * memory.frames)
    this.#fresh[LOW] = memory.lowFrames
    this.#fresh[HIGH] = memory.highFrames
    this.order = [new Shuffle(memory.lowFrames, random), new Shuffle(memory.highFrames, random)]
  }

  /** Free frames in all. */
  get free(): number {
    return this.#freeIn(LOW) + this.#freeIn(HIGH)
  }

  /** Owner of frame `index`, or −1 when it is free or does not exist. */
  owner(index: number): number {
    return index >= 0 && index < this.frames && this.words[index << 1]! < 0
      ? this.words[(index << 1) | 1]! >>> OWNER_SHIFT
      : -1
  }

  /** General references of a frame in use. */
  count(index: number): number {
    return this.words[index << 1]! & COUNT
  }

  typeOf(index: number): number {
    return (this.words[index << 1]! >>> TYPE_SHIFT) & 7
  }

  typeCount(index: number): number {
    return this.words[(index << 1) | 1]! & TYPE_COUNT
  }

  pinned(index: number): boolean {
    return (this.words[index << 1]! & PINNED) !== 0
  }

  /** True when `domid` owns the frame and has not given it back. */
  belongsTo(index: number, domid: number): boolean {
    if (index < 0 || index >= this.frames) return false
    return (
      (this.words[index << 1]! & (USED | ALLOCATED)) === (USED | ALLOCATED) &&
      this.words[(index << 1) | 1]! >>> OWNER_SHIFT === domid
    )
  }

  /** Whether frame `index` is nobody's yet, or again. */
  isFree(index: number): boolean {
    return this.words[index << 1]! >= 0
  }

  /** A zeroed frame for `domid`, below 2^`addressBits` bytes, chosen by the seed; −1 when there is none. It holds the owner's reference. */
  allocate(domid: number, addressBits = 64): number {
    if (addressBits < 32) return this.allocateRun(domid, 0, addressBits)
    const low = this.#freeIn(LOW)
    const high = addressBits > 32 ? this.#freeIn(HIGH) : 0
    if (low + high === 0) return -1
    // Both zones in proportion, so that neither 32-bit devices nor tests above 4 GiB run dry early.
    const zone = high > 0 && this.random.below(low + high) >= low ? HIGH : LOW
    const index = this.#head[zone]! > 0 ? this.#head[zone]! - 1 : this.#nextFresh(zone)
    this.take(index, domid)
    return index
  }

  /** 2^`order` zeroed frames that are consecutive and aligned in the machine; the first, or −1. Searches; not for hot paths. */
  allocateRun(domid: number, order: number, addressBits = 64): number {
    const { lowFrames, highFrames } = this.memory
    const limit = addressBits >= 44 ? Infinity : 2 ** Math.max(0, addressBits - 12)
    const high = limit > HIGH_RAM_FRAME ? this.#findRun(lowFrames, highFrames, 2 ** order) : -1
    const start = high >= 0 ? high : this.#findRun(0, Math.min(lowFrames, limit), 2 ** order)
    if (start >= 0) for (let i = 0; i < 2 ** order; i++) this.take(start + i, domid)
    return start
  }

  /** Gives the free frame `index` to `domid`. */
  take(index: number, domid: number): void {
    const info = this.words[index << 1]!
    if (info < 0) throw new InvariantError('a frame is allocated once', `frame index ${index} is in use`)
    const zone = index < this.memory.lowFrames ? LOW : HIGH
    if ((info & LISTED) !== 0) this.#unlink(index, zone)
    else this.#fresh[zone]!--
    const type = domid === DOMID.XEN ? FrameType.none << TYPE_SHIFT : WRITABLE
    this.words[index << 1] = USED | ALLOCATED | type | 1
    this.words[(index << 1) | 1] = domid << OWNER_SHIFT
    this.owned[domid]!++
    if ((info & LISTED) !== 0) this.memory.fill(index * PAGE_SIZE, 0, PAGE_SIZE)
  }

  /** Drops the owner's own reference: the frame is freed as soon as nothing else holds it. */
  release(index: number): void {
    if ((this.words[index << 1]! & (USED | ALLOCATED)) !== (USED | ALLOCATED))
      throw new InvariantError('a frame is given back once', `frame index ${index} is not allocated`)
    this.words[index << 1]! &= ~ALLOCATED
    this.put(index)
  }

  /** Takes a general reference if `domid` owns the frame; false when it does not. */
  get(index: number, domid: number): boolean {
    if (!this.belongsTo(index, domid)) return false
    this.words[index << 1]!++
    return true
  }

  /** What a mapping holds, in one step: a general reference, and for write access a writable-type one. 0, `ENXIO`, `EACCES`. */
  acquire(index: number, domid: number, write: boolean): number {
    if (index < 0 || index >= this.frames) return -Errno.ENXIO
    const info = this.words[index << 1]!
    const holder = this.words[(index << 1) | 1]!
    if ((info & (USED | ALLOCATED)) !== (USED | ALLOCATED) || holder >>> OWNER_SHIFT !== domid) return -Errno.ENXIO
    if (write) {
      if ((info & TYPE) !== WRITABLE || (holder & TYPE_COUNT) === TYPE_COUNT) return -Errno.EACCES
      this.words[(index << 1) | 1] = holder + 1
    }
    this.words[index << 1] = info + 1
    return 0
  }

  /** Drops what {@link acquire} took. */
  drop(index: number, write: boolean): void {
    if (write) this.putWritable(index)
    this.put(index)
  }

  /** Takes a general reference of a frame that is known to be in use, whoever owns it. */
  hold(index: number): void {
    this.words[index << 1]!++
  }

  /** Drops a general reference. */
  put(index: number): void {
    const info = this.words[index << 1]!
    if ((info & COUNT) === 0) throw new InvariantError('references are conserved', `frame index ${index} has none left`)
    this.words[index << 1] = info - 1
    if ((info & COUNT) === 1) this.#release(index)
  }

  /** Takes a writable-type reference; false when the frame is used as something else, or has too many. A general reference must be held. */
  getWritable(index: number): boolean {
    if ((this.words[index << 1]! & TYPE) !== WRITABLE) return false
    if ((this.words[(index << 1) | 1]! & TYPE_COUNT) === TYPE_COUNT) return false
    this.words[(index << 1) | 1]!++
    return true
  }

  putWritable(index: number): void {
    if ((this.words[(index << 1) | 1]! & TYPE_COUNT) === 0)
      throw new InvariantError('type references are conserved', `frame index ${index} has none left`)
    this.words[(index << 1) | 1]!--
  }

  /**
   * Takes a frame into use as a page table of `type`: held in general and by type until {@link unpin}. False while
   * something relies on what it is now.
   */
  pin(index: number, type: number): boolean {
    if (this.pinned(index) || !this.setType(index, type, true)) return false
    this.words[index << 1]!++
    this.words[(index << 1) | 1]!++
    return true
  }

  /** Ends {@link pin}: the frame is writable memory again. */
  unpin(index: number): void {
    this.putWritable(index)
    this.setType(index, FrameType.writable)
    this.put(index)
  }

  /** Changes what the frame is used as; false while a type reference is held. */
  setType(index: number, type: number, pinned = false): boolean {
    if ((this.words[(index << 1) | 1]! & TYPE_COUNT) !== 0) return false
    this.words[index << 1] = (this.words[index << 1]! & ~(TYPE | PINNED)) | (type << TYPE_SHIFT) | (pinned ? PINNED : 0)
    return true
  }

  /** Every reference beyond the owners' own, general plus type: what mappings hold. Hypervisor frames do not count. Walks all frames. */
  outstanding(): number {
    let sum = 0
    for (let index = 0; index < this.frames; index++) {
      const info = this.words[index << 1]!
      if (info >= 0 || this.words[(index << 1) | 1]! >>> OWNER_SHIFT === DOMID.XEN) continue
      sum += (info & COUNT) - ((info & ALLOCATED) !== 0 ? 1 : 0) + (this.words[(index << 1) | 1]! & TYPE_COUNT)
    }
    return sum
  }

  #findRun(base: number, frames: number, length: number): number {
    for (let at = 0; at + length <= frames; at += length) {
      let run = 0
      while (run < length && this.words[2 * (base + at + run)]! >= 0) run++
      if (run === length) return base + at
    }
    return -1
  }

  #release(index: number): void {
    const domid = this.words[(index << 1) | 1]! >>> OWNER_SHIFT
    if ((this.words[(index << 1) | 1]! & TYPE_COUNT) !== 0)
      throw new InvariantError('a freed frame has no type reference', `frame index ${index}`)
    if ((this.words[index << 1]! & ALLOCATED) !== 0)
      throw new InvariantError('the owner holds a reference', `frame index ${index} lost it`)
    const zone = index < this.memory.lowFrames ? LOW : HIGH
    const head = this.#head[zone]!
    this.words[index << 1] = LISTED
    this.words[(index << 1) | 1] = head
    if (head !== 0) this.words[2 * (head - 1)] = LISTED | (index + 1)
    this.#head[zone] = index + 1
    this.#listed[zone]!++
    if (--this.owned[domid]! === 0) this.onDrained(domid)
  }

  #unlink(index: number, zone: number): void {
    const previous = this.words[index << 1]! & ~LISTED
    const next = this.words[(index << 1) | 1]!
    if (previous === 0) this.#head[zone] = next
    else this.words[2 * (previous - 1) + 1] = next
    if (next !== 0) this.words[2 * (next - 1)] = LISTED | previous
    this.#listed[zone]!--
  }

  #freeIn(zone: number): number {
    return this.#listed[zone]! + this.#fresh[zone]!
  }

  /** A frame of the zone that was never used; there must be one. */
  #nextFresh(zone: 0 | 1): number {
    const base = zone === LOW ? 0 : this.memory.lowFrames
    let index = base + this.order[zone].next()
    // Some were taken out of turn.
    while (this.words[index << 1] !== 0) index = base + this.order[zone].next()
    return index
  }
}
