/**
 * What the hypervisor knows of every frame of RAM, in two words: who owns it, how many references hold it (general), what it is used
 * as (type), and how many references rely on that (type count). A free frame's words are links of its zone's free list instead.
 *
 * Frames are named by *index* (0…frames−1, no hole) in here and in everything hot; `MachineMemory.frameAt` gives the machine frame number.
 * A type changes only at type count 0. A frame is freed when its general count falls to 0, which includes the owner's own reference.
 */
import { InvariantError } from '@iospace/wire'
import { HIGH_RAM_FRAME, PAGE_SIZE, type MachineMemory, type Random } from '@iospace/machine'
import { DOMID, Errno } from '@iospace/abi'
import { threadShuffled } from './frame-shuffle.ts'

/** What a frame is used as. Page-table levels are numbered by themselves. Source: xen/arch/x86/include/asm/mm.h (PGT_*). */
export const FrameType = { none: 0, l1: 1, l2: 2, l3: 3, l4: 4, segment: 5, shared: 6, writable: 7 } as const

// info: 31 used, 30 the owner still has it (free: to be scrubbed), 29–27 type, 26 pinned, 25–0 general count.
const USED = 1 << 31
const ALLOCATED = 1 << 30
const DIRTY = 1 << 30
const TYPE_SHIFT = 27
const TYPE = 7 << TYPE_SHIFT
const PINNED = 1 << 26
const COUNT = PINNED - 1
const WRITABLE = FrameType.writable << TYPE_SHIFT
// holder: 31–17 owner, 16–0 type count.
const OWNER_SHIFT = 17
const TYPE_COUNT = (1 << OWNER_SHIFT) - 1
// Links of a free frame: index + 1, 0 at the ends.
const LINK = 0x3fff_ffff

const LOW = 0
const HIGH = 1

export class FrameTable {
  readonly #memory: MachineMemory
  readonly #random: Random
  readonly #info: Int32Array
  readonly #holder: Int32Array
  readonly #head = new Int32Array(2)
  readonly #free = new Int32Array(2)
  /** Frames that each domain id owns, those included that only references keep alive. */
  readonly owned = new Int32Array(0x8000)
  /** Called when the last frame of `domid` has been freed. */
  onDrained: (domid: number) => void = () => undefined

  constructor(memory: MachineMemory, random: Random) {
    this.#memory = memory
    this.#random = random
    this.#info = new Int32Array(memory.frames)
    this.#holder = new Int32Array(memory.frames)
    this.#thread(LOW, 0, memory.lowFrames)
    this.#thread(HIGH, memory.lowFrames, memory.highFrames)
  }

  /** Free frames in all. */
  get free(): number {
    return this.#free[LOW]! + this.#free[HIGH]!
  }

  get frames(): number {
    return this.#info.length
  }

  /** Owner of frame `index`, or −1 when it is free or does not exist. */
  owner(index: number): number {
    return index >= 0 && index < this.#info.length && this.#info[index]! < 0 ? this.#holder[index]! >>> OWNER_SHIFT : -1
  }

  /** General references of a frame in use. */
  count(index: number): number {
    return this.#info[index]! & COUNT
  }

  typeOf(index: number): number {
    return (this.#info[index]! >>> TYPE_SHIFT) & 7
  }

  typeCount(index: number): number {
    return this.#holder[index]! & TYPE_COUNT
  }

  pinned(index: number): boolean {
    return (this.#info[index]! & PINNED) !== 0
  }

  /** True when `domid` owns the frame and has not given it back. */
  belongsTo(index: number, domid: number): boolean {
    if (index < 0 || index >= this.#info.length) return false
    return (this.#info[index]! & (USED | ALLOCATED)) === (USED | ALLOCATED) && this.#holder[index]! >>> OWNER_SHIFT === domid
  }

  /** A zeroed frame for `domid`, below 2^`addressBits` bytes, chosen by the seed; −1 when there is none. It holds the owner's reference. */
  allocate(domid: number, addressBits = 64): number {
    const low = this.#free[LOW]!
    const high = this.#free[HIGH]!
    if (low + high === 0) return -1
    const wide = addressBits > 32 && high > 0
    if (!wide && low === 0) return -1
    // Both zones in proportion, so that neither 32-bit devices nor tests above 4 GiB run dry early.
    const zone = wide && this.#random.below(low + high) >= low ? HIGH : LOW
    const limit = addressBits >= 32 ? this.#info.length : 2 ** Math.max(0, addressBits - 12)
    let index = this.#head[zone]! - 1
    while (index >= limit) index = (this.#holder[index]! & LINK) - 1
    if (index < 0) return -1
    this.take(index, domid)
    return index
  }

  /** 2^`order` zeroed frames that are consecutive and aligned in the machine; the first, or −1. Searches; not for hot paths. */
  allocateRun(domid: number, order: number, addressBits = 64): number {
    const { lowFrames, highFrames } = this.#memory
    const limit = addressBits >= 44 ? Infinity : 2 ** Math.max(0, addressBits - 12)
    const high = limit > HIGH_RAM_FRAME ? this.#findRun(lowFrames, highFrames, 2 ** order) : -1
    const start = high >= 0 ? high : this.#findRun(0, Math.min(lowFrames, limit), 2 ** order)
    if (start >= 0) for (let i = 0; i < 2 ** order; i++) this.take(start + i, domid)
    return start
  }

  /** Gives the free frame `index` to `domid`. */
  take(index: number, domid: number): void {
    const info = this.#info[index]!
    if (info < 0) throw new InvariantError('a frame is allocated once', `frame index ${index} is in use`)
    this.#unlink(index)
    const type = domid === DOMID.XEN ? FrameType.none << TYPE_SHIFT : WRITABLE
    this.#info[index] = USED | ALLOCATED | type | 1
    this.#holder[index] = domid << OWNER_SHIFT
    this.owned[domid]!++
    if ((info & DIRTY) !== 0) this.#memory.fill(index * PAGE_SIZE, 0, PAGE_SIZE)
  }

  /** Drops the owner's own reference: the frame is freed as soon as nothing else holds it. */
  release(index: number): void {
    if ((this.#info[index]! & (USED | ALLOCATED)) !== (USED | ALLOCATED)) throw new InvariantError('a frame is given back once', `frame index ${index} is not allocated`)
    this.#info[index]! &= ~ALLOCATED
    this.put(index)
  }

  /** Takes a general reference if `domid` owns the frame; false when it does not. */
  get(index: number, domid: number): boolean {
    if (!this.belongsTo(index, domid)) return false
    this.#info[index]!++
    return true
  }

  /** What a mapping holds, in one step: a general reference, and for write access a writable-type one. 0, `ENXIO`, `EACCES`. */
  acquire(index: number, domid: number, write: boolean): number {
    if (index < 0 || index >= this.#info.length) return -Errno.ENXIO
    const info = this.#info[index]!
    const holder = this.#holder[index]!
    if ((info & (USED | ALLOCATED)) !== (USED | ALLOCATED) || holder >>> OWNER_SHIFT !== domid) return -Errno.ENXIO
    if (write) {
      if ((info & TYPE) !== WRITABLE || (holder & TYPE_COUNT) === TYPE_COUNT) return -Errno.EACCES
      this.#holder[index] = holder + 1
    }
    this.#info[index] = info + 1
    return 0
  }

  /** Drops what {@link acquire} took. */
  drop(index: number, write: boolean): void {
    if (write) this.putWritable(index)
    this.put(index)
  }

  /** Takes a general reference of a frame that is known to be in use, whoever owns it. */
  hold(index: number): void {
    this.#info[index]!++
  }

  /** Drops a general reference. */
  put(index: number): void {
    const info = this.#info[index]!
    if ((info & COUNT) === 0) throw new InvariantError('references are conserved', `frame index ${index} has none left`)
    this.#info[index] = info - 1
    if ((info & COUNT) === 1) this.#release(index)
  }

  /** Takes a writable-type reference; false when the frame is used as something else, or has too many. A general reference must be held. */
  getWritable(index: number): boolean {
    if ((this.#info[index]! & TYPE) !== WRITABLE) return false
    if ((this.#holder[index]! & TYPE_COUNT) === TYPE_COUNT) return false
    this.#holder[index]!++
    return true
  }

  putWritable(index: number): void {
    if ((this.#holder[index]! & TYPE_COUNT) === 0) throw new InvariantError('type references are conserved', `frame index ${index} has none left`)
    this.#holder[index]!--
  }

  /** Changes what the frame is used as; false while a type reference is held. */
  setType(index: number, type: number, pinned = false): boolean {
    if ((this.#holder[index]! & TYPE_COUNT) !== 0) return false
    this.#info[index] = (this.#info[index]! & ~(TYPE | PINNED)) | (type << TYPE_SHIFT) | (pinned ? PINNED : 0)
    return true
  }

  /** Every reference beyond the owners' own, general plus type: what mappings hold. Hypervisor frames do not count. Walks all frames. */
  outstanding(): number {
    let sum = 0
    for (let index = 0; index < this.#info.length; index++) {
      const info = this.#info[index]!
      if (info >= 0 || this.#holder[index]! >>> OWNER_SHIFT === DOMID.XEN) continue
      sum += (info & COUNT) - ((info & ALLOCATED) !== 0 ? 1 : 0) + (this.#holder[index]! & TYPE_COUNT)
    }
    return sum
  }

  #findRun(base: number, frames: number, length: number): number {
    for (let at = 0; at + length <= frames; at += length) {
      let run = 0
      while (run < length && this.#info[base + at + run]! >= 0) run++
      if (run === length) return base + at
    }
    return -1
  }

  #release(index: number): void {
    const domid = this.#holder[index]! >>> OWNER_SHIFT
    if ((this.#holder[index]! & TYPE_COUNT) !== 0) throw new InvariantError('a freed frame has no type reference', `frame index ${index}`)
    if ((this.#info[index]! & ALLOCATED) !== 0) throw new InvariantError('the owner holds a reference', `frame index ${index} lost it`)
    const zone = index < this.#memory.lowFrames ? LOW : HIGH
    const head = this.#head[zone]!
    this.#info[index] = DIRTY
    this.#holder[index] = head
    if (head !== 0) this.#info[head - 1] = (this.#info[head - 1]! & DIRTY) | (index + 1)
    this.#head[zone] = index + 1
    this.#free[zone]!++
    if (--this.owned[domid]! === 0) this.onDrained(domid)
  }

  #unlink(index: number): void {
    const zone = index < this.#memory.lowFrames ? LOW : HIGH
    const previous = this.#info[index]! & ~DIRTY
    const next = this.#holder[index]!
    if (previous === 0) this.#head[zone] = next
    else this.#holder[previous - 1] = next
    if (next !== 0) this.#info[next - 1] = (this.#info[next - 1]! & DIRTY) | previous
    this.#free[zone]!--
  }

  #thread(zone: number, first: number, frames: number): void {
    this.#head[zone] = threadShuffled(this.#info, this.#holder, first, frames, this.#random)
    this.#free[zone] = frames
  }
}
