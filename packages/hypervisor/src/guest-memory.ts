/**
 * The one interface through which the hypervisor touches guest frames, grant entries, event bitmaps and fault rings included.
 *
 * A guest pointer is an address of the domain's linear map (pfn << 12 | offset). What a call needs of guest memory is *held* first: every
 * page is translated once, checked writable if the call will write, and referenced; copies then go through the held frames. So a page that
 * changes hands under a preempted call is neither read nor written at its new owner's.
 */
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import { PAGE_SIZE, type MachineMemory } from '@iospace/machine'
import type { FrameTable } from './frames.ts'
import { SlotKind, type P2m } from './p2m.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const PAGE = PAGE_SIZE
const SHIFT = 12
/** log2 of the words of a page; memory has fewer than 2^31 of them. */
const WORD_SHIFT = 10
const READONLY = SlotKind.grantReadonly

/** Up to here words are moved one by one: a bulk copy costs more to begin. */
const FEW_BYTES = 96
/** Guest pointers are below this: 2^31 pages. */
const POINTER_END = 2 ** 43

/** A range of guest memory whose frames are held. */
export class HeldRange {
  /** Byte offsets of the frames in the flat memory. */
  declare private readonly frames: Int32Array
  #pages = 0
  #offset = 0
  #length = 0

  constructor(maxBytes: number) {
    this.frames = new Int32Array(Math.ceil(maxBytes / PAGE) + 1)
  }

  get length(): number {
    return this.#length
  }

  /** Holds `length` bytes at guest `pointer`; false, holding nothing, where a page is missing or (with `writable`) read-only. */
  take(frames: FrameTable, p2m: P2m, pointer: number, length: number, writable: boolean): boolean {
    this.#pages = 0
    this.#length = length
    if (!(pointer >= 0 && pointer + length <= POINTER_END)) return false
    const first = Math.floor(pointer / PAGE)
    this.#offset = pointer - first * PAGE
    const pages = length === 0 ? 0 : Math.ceil((this.#offset + length) / PAGE)
    if (pages > this.frames.length) return false
    for (let i = 0; i < pages; i++) {
      const index = p2m.frame(first + i)
      if (index < 0 || (writable && p2m.kind(first + i) === READONLY)) {
        this.drop(frames)
        return false
      }
      frames.hold(index)
      this.frames[i] = index
      this.#pages = i + 1
    }
    return true
  }

  /**
   * The common argument in one go: a struct of `size` bytes, a multiple of 4, that says so in its first word, aligned and inside one page. It is
   * held and copied to byte offset `to`, each word fetched once. False, with nothing held, for every other.
   */
  takeStruct(frames: FrameTable, p2m: P2m, memory: MachineMemory, pointer: number, size: number, to: number): boolean {
    // Pointers from 2^31 on are not common.
    const place = pointer | 0
    const offset = place & (PAGE - 1)
    if (place !== pointer || place < 0 || (offset & 3) !== 0 || offset + size > PAGE) return false
    const index = p2m.writableFrame(place >> SHIFT)
    if (index < 0) return false
    const { words } = memory
    const from = (index << WORD_SHIFT) | (offset >>> 2)
    if (words[from] !== size) return false
    const first = to >>> 2
    words[first] = size
    for (let i = 1; i < size >> 2; i++) words[first + i] = words[from + i]!
    this.#holdOne(frames, index, offset, size)
    return true
  }

  /**
   * {@link take} for writing and {@link copyIn} of an array of `length` bytes, a multiple of 4, in one go, where it is aligned and inside one
   * page below guest pointer 2^31. False, with nothing held, for every other.
   */
  takeArray(frames: FrameTable, p2m: P2m, memory: MachineMemory, pointer: number, length: number, to: number): boolean {
    const offset = pointer & (PAGE - 1)
    if (pointer < 0 || (offset & 3) !== 0 || offset + length > PAGE) return false
    const index = p2m.writableFrame(pointer >> SHIFT)
    if (index < 0) return false
    if (length > FEW_BYTES) memory.copy(to, (index << SHIFT) | offset, length)
    else {
      const { words } = memory
      const from = (index << WORD_SHIFT) | (offset >>> 2)
      const first = to >>> 2
      for (let i = 0; i < length >> 2; i++) words[first + i] = words[from + i]!
    }
    this.#holdOne(frames, index, offset, length)
    return true
  }

  /** Copies `length` held bytes from byte `at` of the range to byte offset `to` of the flat memory. */
  copyIn(memory: MachineMemory, at: number, to: number, length: number): void {
    const first = this.#offset + at
    if (length <= FEW_BYTES && (first & 3) === 0 && (first & (PAGE - 1)) + length <= PAGE) {
      const { words } = memory
      const from = (this.frames[first >> 12]! * PAGE + (first & (PAGE - 1))) >>> 2
      for (let i = 0; i < (length + 3) >>> 2; i++) words[(to >>> 2) + i] = words[from + i]!
      return
    }
    for (let done = 0; done < length;) {
      const place = this.#offset + at + done
      const within = place & (PAGE - 1)
      const piece = Math.min(length - done, PAGE - within)
      memory.copy(to + done, this.frames[place >> 12]! * PAGE + within, piece)
      done += piece
    }
  }

  /** The reverse of {@link copyIn}. */
  copyOut(memory: MachineMemory, from: number, at: number, length: number): void {
    for (let done = 0; done < length;) {
      const place = this.#offset + at + done
      const within = place & (PAGE - 1)
      const piece = Math.min(length - done, PAGE - within)
      memory.copy(this.frames[place >> 12]! * PAGE + within, from + done, piece)
      done += piece
    }
  }

  /** True when `length` held bytes from byte `at` of the range are zero. */
  isZero(memory: MachineMemory, at: number, length: number): boolean {
    for (let i = 0; i < length; i++) if (memory.bytes[this.offsetOf(at + i)] !== 0) return false
    return true
  }

  /** Byte offset in the flat memory of byte `at` of the range. */
  offsetOf(at: number): number {
    const place = this.#offset + at
    return this.frames[place >> 12]! * PAGE + (place & (PAGE - 1))
  }

  /** Index in the memory's words of byte `at` of the range, where `length` bytes from there are aligned and inside one page; −1 elsewhere. */
  wordOf(at: number, length: number): number {
    const place = this.#offset + at
    const within = place & (PAGE - 1)
    return (place & 3) === 0 && within + length <= PAGE
      ? (this.frames[place >> SHIFT]! << WORD_SHIFT) | (within >> 2)
      : -1
  }

  /** Writes a 32-bit word at byte `at` of the range. */
  write32(memory: MachineMemory, at: number, value: number): void {
    const word = this.wordOf(at, 4)
    if (word >= 0) memory.words[word] = value
    else for (let i = 0; i < 4; i++) memory.bytes[this.offsetOf(at + i)] = value >>> (8 * i)
  }

  #holdOne(frames: FrameTable, index: number, offset: number, length: number): void {
    frames.hold(index)
    this.frames[0] = index
    this.#pages = 1
    this.#offset = offset
    this.#length = length
  }

  /** Lets the frames go. */
  drop(frames: FrameTable): void {
    for (let i = 0; i < this.#pages; i++) frames.put(this.frames[i]!)
    this.#pages = 0
  }
}

export class GuestMemory {
  declare readonly memory: MachineMemory
  declare private readonly frames: FrameTable

  constructor(memory: MachineMemory, frames: FrameTable) {
    this.memory = memory
    this.frames = frames
  }

  /** Copies `length` bytes from guest `pointer` to byte offset `to`, translating page by page; false where a page is missing (nothing is promised of `to`). */
  copyIn(p2m: P2m, pointer: number, to: number, length: number): boolean {
    return this.#copy(p2m, pointer, to, length, false)
  }

  /** Copies `length` bytes from byte offset `from` to guest `pointer`; false, without any effect, where a page is missing or read-only. */
  copyOut(p2m: P2m, from: number, pointer: number, length: number): boolean {
    return this.writable(p2m, pointer, length) && this.#copy(p2m, pointer, from, length, true)
  }

  /** True when all of `length` bytes at `pointer` can be written. */
  writable(p2m: P2m, pointer: number, length: number): boolean {
    if (!(pointer >= 0 && pointer + length <= POINTER_END)) return false
    const last = Math.floor((pointer + length - 1) / PAGE)
    for (let pfn = Math.floor(pointer / PAGE); pfn <= last; pfn++) {
      if (p2m.frame(pfn) < 0 || p2m.kind(pfn) === READONLY) return false
    }
    return true
  }

  /** A 32-bit word at byte `at` of frame `index`. */
  load32(index: number, at: number): number {
    return this.memory.words[(index * PAGE + at) >>> 2]! >>> 0
  }

  store32(index: number, at: number, value: number): void {
    this.memory.words[(index * PAGE + at) >>> 2] = value
  }

  /** Stores `value` if the word is `expected`, as one event; returns what the word was. */
  compareExchange32(index: number, at: number, expected: number, value: number): number {
    const word = (index * PAGE + at) >>> 2
    const old = this.memory.words[word]! >>> 0
    if (old === expected >>> 0) this.memory.words[word] = value
    return old
  }

  /** Sets bit `bit`, counted from byte `at` of frame `index`; true if it was set before. */
  setBit(index: number, at: number, bit: number): boolean {
    const word = ((index * PAGE + at) >>> 2) + (bit >> 5)
    const old = this.memory.words[word]!
    this.memory.words[word] = old | (1 << (bit & 31))
    return ((old >>> (bit & 31)) & 1) !== 0
  }

  /** Clears bit `bit`; true if it was set before. */
  clearBit(index: number, at: number, bit: number): boolean {
    const word = ((index * PAGE + at) >>> 2) + (bit >> 5)
    const old = this.memory.words[word]!
    this.memory.words[word] = old & ~(1 << (bit & 31))
    return ((old >>> (bit & 31)) & 1) !== 0
  }

  testBit(index: number, at: number, bit: number): boolean {
    return ((this.memory.words[((index * PAGE + at) >>> 2) + (bit >> 5)]! >>> (bit & 31)) & 1) !== 0
  }

  /** Copies between two frames, `length` bytes inside each. */
  copyBetween(from: number, fromAt: number, to: number, toAt: number, length: number): void {
    this.memory.copy(to * PAGE + toAt, from * PAGE + fromAt, length)
  }

  /** Encodes a struct at byte `at` of frame `index`. */
  writeStruct<F extends Fields>(index: number, at: number, struct: Struct<F>, value: ValueOf<F>): void {
    struct.write(this.memory.view, index * PAGE + at, value)
  }

  #copy(p2m: P2m, pointer: number, at: number, length: number, out: boolean): boolean {
    if (!(pointer >= 0 && pointer + length <= POINTER_END)) return false
    for (let done = 0; done < length;) {
      const place = pointer + done
      const pfn = Math.floor(place / PAGE)
      const within = place - pfn * PAGE
      const index = p2m.frame(pfn)
      if (index < 0 || this.frames.owner(index) < 0) return false
      const piece = Math.min(length - done, PAGE - within)
      if (out) this.memory.copy(index * PAGE + within, at + done, piece)
      else this.memory.copy(at + done, index * PAGE + within, piece)
      done += piece
    }
    return true
  }
}
