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

/** Guest pointers are below this: 2^31 pages. */
const POINTER_END = 2 ** 43

/** A range of guest memory whose frames are held. */
export class HeldRange {
  /** Byte offsets of the frames in the flat memory. */
  readonly #frames: Int32Array
  #pages = 0
  #offset = 0
  #length = 0

  constructor(maxBytes: number) {
    this.#frames = new Int32Array(Math.ceil(maxBytes / PAGE_SIZE) + 1)
  }

  get length(): number {
    return this.#length
  }

  /** Holds `length` bytes at guest `pointer`; false, holding nothing, where a page is missing or (with `writable`) read-only. */
  take(frames: FrameTable, p2m: P2m, pointer: number, length: number, writable: boolean): boolean {
    this.#pages = 0
    this.#length = length
    if (!(pointer >= 0 && pointer + length <= POINTER_END)) return false
    const first = Math.floor(pointer / PAGE_SIZE)
    this.#offset = pointer - first * PAGE_SIZE
    const pages = length === 0 ? 0 : Math.ceil((this.#offset + length) / PAGE_SIZE)
    if (pages > this.#frames.length) return false
    for (let i = 0; i < pages; i++) {
      const index = p2m.frame(first + i)
      if (index < 0 || (writable && p2m.kind(first + i) === SlotKind.grantReadonly)) {
        this.drop(frames)
        return false
      }
      frames.hold(index)
      this.#frames[i] = index
      this.#pages = i + 1
    }
    return true
  }

  /** Copies `length` held bytes from byte `at` of the range to byte offset `to` of the flat memory. */
  copyIn(memory: MachineMemory, at: number, to: number, length: number): void {
    for (let done = 0; done < length; ) {
      const place = this.#offset + at + done
      const within = place & (PAGE_SIZE - 1)
      const piece = Math.min(length - done, PAGE_SIZE - within)
      memory.copy(to + done, this.#frames[place >> 12]! * PAGE_SIZE + within, piece)
      done += piece
    }
  }

  /** The reverse of {@link copyIn}. */
  copyOut(memory: MachineMemory, from: number, at: number, length: number): void {
    for (let done = 0; done < length; ) {
      const place = this.#offset + at + done
      const within = place & (PAGE_SIZE - 1)
      const piece = Math.min(length - done, PAGE_SIZE - within)
      memory.copy(this.#frames[place >> 12]! * PAGE_SIZE + within, from + done, piece)
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
    return this.#frames[place >> 12]! * PAGE_SIZE + (place & (PAGE_SIZE - 1))
  }

  /** Writes a 32-bit word at byte `at` of the range. */
  write32(memory: MachineMemory, at: number, value: number): void {
    const offset = this.offsetOf(at)
    if ((offset & 3) === 0) memory.words[offset >> 2] = value
    else for (let i = 0; i < 4; i++) memory.bytes[this.offsetOf(at + i)] = value >>> (8 * i)
  }

  /** Lets the frames go. */
  drop(frames: FrameTable): void {
    for (let i = 0; i < this.#pages; i++) frames.put(this.#frames[i]!)
    this.#pages = 0
  }
}

export class GuestMemory {
  readonly memory: MachineMemory
  readonly #frames: FrameTable

  constructor(memory: MachineMemory, frames: FrameTable) {
    this.memory = memory
    this.#frames = frames
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
    const last = Math.floor((pointer + length - 1) / PAGE_SIZE)
    for (let pfn = Math.floor(pointer / PAGE_SIZE); pfn <= last; pfn++) {
      if (p2m.frame(pfn) < 0 || p2m.kind(pfn) === SlotKind.grantReadonly) return false
    }
    return true
  }

  /** A 32-bit word at byte `at` of frame `index`. */
  load32(index: number, at: number): number {
    return this.memory.words[(index * PAGE_SIZE + at) >> 2]! >>> 0
  }

  store32(index: number, at: number, value: number): void {
    this.memory.words[(index * PAGE_SIZE + at) >> 2] = value
  }

  /** Stores `value` if the word is `expected`, as one event; returns what the word was. */
  compareExchange32(index: number, at: number, expected: number, value: number): number {
    const word = (index * PAGE_SIZE + at) >> 2
    const old = this.memory.words[word]! >>> 0
    if (old === expected >>> 0) this.memory.words[word] = value
    return old
  }

  /** Sets bit `bit`, counted from byte `at` of frame `index`; true if it was set before. */
  setBit(index: number, at: number, bit: number): boolean {
    const word = ((index * PAGE_SIZE + at) >> 2) + (bit >> 5)
    const old = this.memory.words[word]!
    this.memory.words[word] = old | (1 << (bit & 31))
    return ((old >>> (bit & 31)) & 1) !== 0
  }

  /** Clears bit `bit`; true if it was set before. */
  clearBit(index: number, at: number, bit: number): boolean {
    const word = ((index * PAGE_SIZE + at) >> 2) + (bit >> 5)
    const old = this.memory.words[word]!
    this.memory.words[word] = old & ~(1 << (bit & 31))
    return ((old >>> (bit & 31)) & 1) !== 0
  }

  testBit(index: number, at: number, bit: number): boolean {
    return ((this.memory.words[((index * PAGE_SIZE + at) >> 2) + (bit >> 5)]! >>> (bit & 31)) & 1) !== 0
  }

  /** Copies between two frames, `length` bytes inside each. */
  copyBetween(from: number, fromAt: number, to: number, toAt: number, length: number): void {
    this.memory.copy(to * PAGE_SIZE + toAt, from * PAGE_SIZE + fromAt, length)
  }

  /** Encodes a struct at byte `at` of frame `index`. */
  writeStruct<F extends Fields>(index: number, at: number, struct: Struct<F>, value: ValueOf<F>): void {
    struct.write(this.memory.view, index * PAGE_SIZE + at, value)
  }

  #copy(p2m: P2m, pointer: number, at: number, length: number, out: boolean): boolean {
    if (!(pointer >= 0 && pointer + length <= POINTER_END)) return false
    for (let done = 0; done < length; ) {
      const place = pointer + done
      const pfn = Math.floor(place / PAGE_SIZE)
      const within = place - pfn * PAGE_SIZE
      const index = p2m.frame(pfn)
      if (index < 0 || this.#frames.owner(index) < 0) return false
      const piece = Math.min(length - done, PAGE_SIZE - within)
      if (out) this.memory.copy(index * PAGE_SIZE + within, at + done, piece)
      else this.memory.copy(at + done, index * PAGE_SIZE + within, piece)
      done += piece
    }
    return true
  }
}
