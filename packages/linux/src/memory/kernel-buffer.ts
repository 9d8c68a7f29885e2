/**
 * A kernel buffer: linear for the CPU, scattered in the machine. Its page numbers are contiguous; its frames are not. Every access
 * goes through here and splits at page edges, so no caller ever assumes that two pages lie side by side.
 */
import { BoundsError, type Fields, type Struct, type ValueOf } from '@iospace/wire'
import { PAGE_SHIFT, PAGE_SIZE } from '@iospace/machine'
import type { PlatformMemory } from '../platform.ts'

const PAGE_MASK = PAGE_SIZE - 1

export class KernelBuffer {
  readonly memory: PlatformMemory
  /** Page that holds the first byte. */
  readonly pfn: number
  /** Of the first byte, inside its page. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
  #views: Uint8Array[] | null = null

  /** `length` bytes from `offset` in page `pfn` on; further pages have consecutive numbers. */
  constructor(memory: PlatformMemory, pfn: number, offset: number, length: number) {
    this.memory = memory
    this.pfn = pfn + (offset >> PAGE_SHIFT)
    this.offset = offset & PAGE_MASK
    this.length = length
  }

  /** Pages that the buffer touches. */
  get pages(): number {
    return (this.offset + this.length + PAGE_MASK) >> PAGE_SHIFT
  }

  /** The guest pointer to the byte `at`: what hypercalls take. */
  address(at = 0): number {
    return this.pfn * PAGE_SIZE + this.offset + at
  }

  /** A part of this buffer, over the same memory. BoundsError when it leaves the buffer. */
  slice(at: number, length: number = this.length - at): KernelBuffer {
    this.#check(at, length)
    return new KernelBuffer(this.memory, this.pfn, this.offset + at, length)
  }

  /** Where byte `at` lies in the flat memory now, and up to its page's end only. */
  at(at: number): number {
    const position = this.offset + at
    return this.memory.frameOffset(this.pfn + (position >> PAGE_SHIFT)) + (position & PAGE_MASK)
  }

  /** Little-endian unsigned numbers. They must not cross a page edge unless noted. */
  read8(at: number): number {
    this.#check(at, 1)
    return this.memory.bytes[this.at(at)]!
  }
  write8(at: number, value: number): void {
    this.#check(at, 1)
    this.memory.bytes[this.at(at)] = value
  }
  read16(at: number): number {
    this.#check(at, 2)
    return this.memory.view.getUint16(this.at(at), true)
  }
  write16(at: number, value: number): void {
    this.#check(at, 2)
    this.memory.view.setUint16(this.at(at), value, true)
  }
  read32(at: number): number {
    this.#check(at, 4)
    return this.memory.view.getUint32(this.at(at), true)
  }
  write32(at: number, value: number): void {
    this.#check(at, 4)
    this.memory.view.setUint32(this.at(at), value, true)
  }

  /** Copies `source` into the buffer from byte `at` on. */
  write(at: number, source: Uint8Array): void {
    this.#check(at, source.length)
    for (let done = 0; done < source.length;) {
      const piece = Math.min(source.length - done, this.#toPageEnd(at + done))
      this.memory.bytes.set(source.subarray(done, done + piece), this.at(at + done))
      done += piece
    }
  }

  /** Fills `target` from the buffer's bytes from `at` on, and returns it. */
  read(at: number, target: Uint8Array): Uint8Array {
    this.#check(at, target.length)
    for (let done = 0; done < target.length;) {
      const piece = Math.min(target.length - done, this.#toPageEnd(at + done))
      const from = this.at(at + done)
      target.set(this.memory.bytes.subarray(from, from + piece), done)
      done += piece
    }
    return target
  }

  /** Sets `length` bytes from `at` on. */
  fill(value: number, at = 0, length: number = this.length - at): void {
    this.#check(at, length)
    for (let done = 0; done < length;) {
      const piece = Math.min(length - done, this.#toPageEnd(at + done))
      this.memory.fill(this.at(at + done), value, piece)
      done += piece
    }
  }

  /** Copies `length` bytes of another buffer of the same memory to here. */
  copyFrom(at: number, source: KernelBuffer, sourceAt: number, length: number): void {
    this.#check(at, length)
    source.#check(sourceAt, length)
    for (let done = 0; done < length;) {
      const piece = Math.min(length - done, this.#toPageEnd(at + done), source.#toPageEnd(sourceAt + done))
      this.memory.copy(this.at(at + done), source.at(sourceAt + done), piece)
      done += piece
    }
  }

  /** A struct at byte `at`, wherever page edges lie. */
  readStruct<F extends Fields>(struct: Struct<F>, at = 0): ValueOf<F> {
    this.#check(at, struct.size)
    if (this.#toPageEnd(at) >= struct.size) return struct.read(this.memory.view, this.at(at))
    return struct.decode(this.read(at, new Uint8Array(struct.size)))
  }

  /** Writes a struct at byte `at`, padding as zeros. */
  writeStruct<F extends Fields>(struct: Struct<F>, value: ValueOf<F>, at = 0): void {
    this.#check(at, struct.size)
    if (this.#toPageEnd(at) >= struct.size) struct.write(this.memory.view, this.at(at), value)
    else this.write(at, struct.encode(value))
  }

  /**
   * The buffer's bytes as one view per page, made once: for consumers that take a Uint8Array (a hash) without a copy. Only for
   * memory of one's own, whose frames do not change; a granted slot's do.
   */
  views(): readonly Uint8Array[] {
    if (this.#views !== null) return this.#views
    const views: Uint8Array[] = []
    for (let done = 0; done < this.length;) {
      const piece = Math.min(this.length - done, this.#toPageEnd(done))
      const from = this.at(done)
      views.push(this.memory.bytes.subarray(from, from + piece))
      done += piece
    }
    this.#views = views
    return views
  }

  #toPageEnd(at: number): number {
    return PAGE_SIZE - ((this.offset + at) & PAGE_MASK)
  }

  #check(at: number, length: number): void {
    if (!(at >= 0 && length >= 0 && at + length <= this.length))
      throw new BoundsError('kernel buffer', at, length, this.length)
  }
}
