/**
 * Where a command's data lies in host memory: PRP entries and lists (NVMe 1.4 section 4.3), resolved into pieces that are contiguous
 * on the bus. The first piece may start inside a page; every other entry starts a page.
 */
import type { MachineMemory } from '@iospace/machine'
import type { DmaBooks, NvmeDma } from './dma.ts'
import { MAX_TRANSFER, PAGE, Sqe } from './spec/commands.ts'
import { Status } from './spec/status.ts'

// Constants of other modules as this module's own: those are what the compiler folds.
const BYTES = PAGE
const OFFSET = BYTES - 1
const MAX_PIECES = MAX_TRANSFER / PAGE + 1
const ENTRY_BYTES = 8

export class PrpData {
  readonly #memory: MachineMemory
  readonly #dma: NvmeDma
  /** Board memory of one page, for a piece of a PRP list. */
  readonly #listAt: number
  readonly #hi = new Int32Array(MAX_PIECES)
  readonly #lo = new Int32Array(MAX_PIECES)
  readonly #length = new Int32Array(MAX_PIECES)
  #pieces = 0

  constructor(memory: MachineMemory, dma: NvmeDma) {
    this.#memory = memory
    this.#dma = dma
    this.#listAt = memory.boardMemory(PAGE)
  }

  /** Resolves the PRPs of the command at word index `sqe` for `length` bytes (1 to MAX_TRANSFER). Returns a status. */
  resolve(sqe: number, length: number): number {
    const { words } = this.#memory
    const lo = words[sqe + Sqe.prp1]!
    // Bits 1:0 of the offset must be 0 (4.3); the same holds for a list pointer's bits 2:0.
    if ((lo & 3) !== 0) return Status.prpOffsetInvalid
    this.#pieces = 0
    const first = Math.min(length, BYTES - (lo & OFFSET))
    this.#add(words[sqe + Sqe.prp1 + 1]!, lo, first)
    const rest = length - first
    if (rest === 0) return Status.success
    const lo2 = words[sqe + Sqe.prp2]!
    const hi2 = words[sqe + Sqe.prp2 + 1]!
    if (rest > PAGE) return this.#resolveList(hi2, lo2, rest)
    if ((lo2 & OFFSET) !== 0) return Status.prpOffsetInvalid
    this.#add(hi2, lo2, rest)
    return Status.success
  }

  /** Reads the data from host memory to board memory at `at`. Returns a status. */
  fetch(at: number, books: DmaBooks): number {
    let done = at
    for (let i = 0; i < this.#pieces; i++) {
      const length = this.#length[i]!
      if (!this.#dma.read(this.#hi[i]!, this.#lo[i]!, done, length, books)) return Status.dataTransferError
      done += length
    }
    return Status.success
  }

  /** Writes the data from board memory at `at` to host memory. Returns a status. */
  deliver(at: number, books: DmaBooks): number {
    let done = at
    for (let i = 0; i < this.#pieces; i++) {
      const length = this.#length[i]!
      if (!this.#dma.write(this.#hi[i]!, this.#lo[i]!, done, length, books)) return Status.dataTransferError
      done += length
    }
    return Status.success
  }

  // A list may start anywhere in a page, on a quadword. When more pages remain than entries fit in front of the end of its page, the
  // last entry there is the address of the next list, which starts a page.
  #resolveList(firstHi: number, firstLo: number, length: number): number {
    const { words } = this.#memory
    const list = this.#listAt >>> 2
    let hi = firstHi
    let lo = firstLo
    let rest = length
    if ((lo & (ENTRY_BYTES - 1)) !== 0) return Status.prpOffsetInvalid
    for (;;) {
      const room = (BYTES - (lo & OFFSET)) / ENTRY_BYTES
      const wanted = Math.ceil(rest / BYTES)
      const chained = wanted > room
      const entries = chained ? room : wanted
      if (!this.#dma.read(hi, lo, this.#listAt, entries * ENTRY_BYTES, this.#dma.control))
        return Status.dataTransferError
      const pages = chained ? room - 1 : wanted
      for (let i = 0; i < pages; i++) {
        const entryLo = words[list + 2 * i]!
        if ((entryLo & OFFSET) !== 0) return Status.prpOffsetInvalid
        const piece = Math.min(rest, BYTES)
        this.#add(words[list + 2 * i + 1]!, entryLo, piece)
        rest -= piece
      }
      if (!chained) return Status.success
      lo = words[list + 2 * pages]!
      hi = words[list + 2 * pages + 1]!
      if ((lo & OFFSET) !== 0) return Status.prpOffsetInvalid
    }
  }

  #add(hi: number, lo: number, length: number): void {
    const last = this.#pieces - 1
    if (last >= 0) {
      const end = (this.#lo[last]! >>> 0) + this.#length[last]!
      const endHi = end > 0xffff_ffff ? (this.#hi[last]! + 1) | 0 : this.#hi[last]!
      if ((end | 0) === lo && endHi === hi) {
        this.#length[last]! += length
        return
      }
    }
    this.#hi[last + 1] = hi
    this.#lo[last + 1] = lo
    this.#length[last + 1] = length
    this.#pieces = last + 2
  }
}
