/**
 * Machine memory: RAM below and above a PCI hole, plus the memory that sits on device boards, in one flat WebAssembly memory.
 *
 * Frames are numbered by physical address; `frameOffset` turns a frame number into a byte offset of the flat memory. Nothing else
 * knows where RAM lies. Bulk copies go through `memory.copy` of a tiny WebAssembly module, which is as fast as C's memcpy.
 */
import { ConfigError } from '@iospace/wire'

export const PAGE_SHIFT = 12
export const PAGE_SIZE = 4096
/** First frame above 4 GiB, where the second RAM range begins. */
export const HIGH_RAM_FRAME = 0x100000
/** RAM below the hole ends here at the latest: 3 GiB, as chipsets of the period place it. */
export const MAX_LOW_FRAMES = 0xc0000

// The compiler folds what is not exported.
const HIGH = HIGH_RAM_FRAME

/** A flat memory has 32-bit offsets: 4 GiB in pages of 64 KiB. */
const WASM_PAGE = 65536
const MAX_WASM_PAGES = 65536

export interface MemoryOptions {
  /** Frames of RAM from physical address 0. At most {@link MAX_LOW_FRAMES}. */
  readonly lowFrames: number
  /** Frames of RAM from 4 GiB up. */
  readonly highFrames: number
  /** Bytes of memory on device boards; it has no physical address. */
  readonly boardBytes: number
}

/** `(module (memory (import "m" "m") 0) (func (export "c") …memory.copy) (func (export "f") …memory.fill))` */
const BULK_MODULE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 3, 127, 127, 127, 0, 2, 8, 1, 1, 109, 1, 109, 2, 0, 0, 3, 3, 2, 0, 0, 7, 9,
  2, 1, 99, 0, 0, 1, 102, 0, 1, 10, 26, 2, 12, 0, 32, 0, 32, 1, 32, 2, 252, 10, 0, 0, 11, 11, 0, 32, 0, 32, 1, 32, 2,
  252, 11, 0, 11,
])

/** Up to here moves by elements beat a call of `memory.copy` (measured). */
const SHORT = 128

// Constants, not declarations, which could be assigned to: the compiler would have to look each time.
const moveWords = (words: Int32Array, to: number, from: number, count: number): void => {
  for (let i = 0; i < count; i++) words[to + i] = words[from + i]!
}

const moveDoubles = (doubles: Float64Array, to: number, from: number, count: number): void => {
  for (let i = 0; i < count; i++) doubles[to + i] = doubles[from + i]!
}

const move64 = (doubles: Float64Array, to: number, from: number): void => {
  doubles[to] = doubles[from]!
  doubles[to + 1] = doubles[from + 1]!
  doubles[to + 2] = doubles[from + 2]!
  doubles[to + 3] = doubles[from + 3]!
  doubles[to + 4] = doubles[from + 4]!
  doubles[to + 5] = doubles[from + 5]!
  doubles[to + 6] = doubles[from + 6]!
  doubles[to + 7] = doubles[from + 7]!
}

export class MachineMemory {
  declare readonly lowFrames: number
  declare readonly highFrames: number
  declare readonly bytes: Uint8Array
  declare readonly words: Int32Array
  declare readonly doubles: Float64Array
  declare readonly view: DataView
  /** Copies `length` bytes from byte offset `from` to byte offset `to` of the flat memory; ranges may overlap. */
  declare readonly copy: (to: number, from: number, length: number) => void
  /** Sets `length` bytes at byte offset `at` to `value`. */
  declare readonly fill: (at: number, value: number, length: number) => void
  declare private readonly boardEnd: number
  #boardNext: number

  constructor({ lowFrames, highFrames, boardBytes }: MemoryOptions) {
    if (!(lowFrames >= 1 && lowFrames <= MAX_LOW_FRAMES && Number.isInteger(lowFrames)))
      throw new ConfigError('memory.lowFrames', lowFrames, 'is not a number of frames between 1 and 3 GiB')
    if (!(highFrames >= 0 && Number.isInteger(highFrames)))
      throw new ConfigError('memory.highFrames', highFrames, 'is not a number of frames')
    if (!(boardBytes >= 0 && Number.isInteger(boardBytes)))
      throw new ConfigError('memory.boardBytes', boardBytes, 'is not a number of bytes')
    const ram = (lowFrames + highFrames) * PAGE_SIZE
    const pages = Math.ceil((ram + boardBytes) / WASM_PAGE)
    if (pages > MAX_WASM_PAGES)
      throw new ConfigError('memory', ram + boardBytes, 'bytes of RAM and boards exceed 4 GiB')
    const memory = new WebAssembly.Memory({ initial: pages })
    this.lowFrames = lowFrames
    this.highFrames = highFrames
    this.bytes = new Uint8Array(memory.buffer)
    this.words = new Int32Array(memory.buffer)
    this.doubles = new Float64Array(memory.buffer)
    this.view = new DataView(memory.buffer)
    const bulk = new WebAssembly.Instance(new WebAssembly.Module(BULK_MODULE), { m: { m: memory } })
    this.copy = bulk.exports['c'] as (to: number, from: number, length: number) => void
    this.fill = bulk.exports['f'] as (at: number, value: number, length: number) => void
    this.#boardNext = ram
    this.boardEnd = ram + boardBytes
  }

  /** RAM frames in all; frame numbers themselves have a hole, see {@link frameAt}. */
  get frames(): number {
    return this.lowFrames + this.highFrames
  }

  /** The frame number of the `index`-th frame of RAM. */
  frameAt(index: number): number {
    return index < this.lowFrames ? index : index - this.lowFrames + HIGH_RAM_FRAME
  }

  /** The inverse of {@link frameAt}; −1 where there is no RAM. */
  frameIndex(mfn: number): number {
    const frame = mfn | 0
    // No frame of RAM has a number from 2^31 on; below, all is arithmetic in 32 bits.
    if (frame !== mfn) return -1
    if (frame >= 0 && frame < this.lowFrames) return frame
    const index = (frame - HIGH) | 0
    return index >= 0 && index < this.highFrames ? (index + this.lowFrames) | 0 : -1
  }

  /** Byte offset of machine frame `mfn` in the flat memory; −1 where there is no RAM. */
  frameOffset(mfn: number): number {
    const index = this.frameIndex(mfn)
    return index < 0 ? -1 : index * PAGE_SIZE
  }

  /** Byte offset of the physical address (`hi`:`lo`, any 64 bits); −1 where there is no RAM. */
  offset(hi: number, lo: number): number {
    if (hi >>> 12 !== 0) return -1
    const base = this.frameOffset((hi >>> 0) * 0x100000 + (lo >>> 12))
    return base < 0 ? -1 : base + (lo & 0xfff)
  }

  /**
   * Copies `length` bytes from byte offset `from` to byte offset `to` (each also as a 32-bit pattern of any sign), as DMA does it:
   * short aligned pieces by doubles or words, which is faster than a call of {@link copy}. The ranges must not overlap.
   */
  move(to: number, from: number, length: number): void {
    if (length === 64 && ((to | from) & 7) === 0 && doublesAreExact) move64(this.doubles, to >>> 3, from >>> 3)
    else if (length > SHORT || ((to | from | length) & 3) !== 0) this.copy(to, from, length)
    else if (((to | from | length) & 7) !== 0 || !doublesAreExact)
      moveWords(this.words, to >>> 2, from >>> 2, length >>> 2)
    else moveDoubles(this.doubles, to >>> 3, from >>> 3, length >>> 3)
  }

  /** Byte offset of `bytes` fresh bytes on a device board, 4 KiB aligned. */
  boardMemory(bytes: number): number {
    const at = this.#boardNext
    const next = at + Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE
    if (next > this.boardEnd)
      throw new ConfigError('memory.boardBytes', bytes, "more bytes are wanted than the devices' board memory has left")
    this.#boardNext = next
    return at
  }
}

// The language lets an engine change the bits of a NaN that passes through a variable; this one must not.
const doublesAreExact = ((): boolean => {
  const words = new Int32Array(32)
  for (let i = 0; i < 16; i += 2) {
    words[i] = 0x1234_5678 + i
    words[i + 1] = i < 8 ? 0x7ff0_0000 | i : 0xfff4_abcd + i
  }
  const doubles = new Float64Array(words.buffer)
  for (let round = 0; round < 1000; round++) {
    words.fill(0, 16)
    if (round % 2 === 0) move64(doubles, 8, 0)
    else moveDoubles(doubles, 8, 0, 8)
    for (let i = 0; i < 16; i++) if (words[16 + i] !== words[i]) return false
  }
  return true
})()
