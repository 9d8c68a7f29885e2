/**
 * From a mapped scatterlist to commands. A command's data are whole pages but for the beginning of the first and the end of the last
 * (PRP, NVMe 1.4 section 4.3): where two segments do not meet at page edges, one command ends and the next begins.
 */
import { PAGE_SHIFT, PAGE_SIZE } from '@iospace/machine'
import type { ScatterList } from '../../dma/scatterlist.ts'
import type { CommandSlots } from './command-slots.ts'
import { Sqe } from './spec.ts'

const PAGE_MASK = PAGE_SIZE - 1

/** Walks the pages of a list's segments; the same object serves every request. */
export class Transfer {
  readonly #maxPages: number
  #list: ScatterList | null = null
  #segment = 0
  /** Bytes of the segment that earlier commands took. */
  #done = 0
  /** Bytes of the command that {@link build} made last. */
  bytes = 0

  /** Commands of at most `maxPages` pages; at most 65, PRP1 and a full list. */
  constructor(maxPages: number) {
    this.#maxPages = maxPages
  }

  /** Begins with the first byte of `list`. */
  begin(list: ScatterList): void {
    this.#list = list
    this.#segment = 0
    this.#done = 0
  }

  /** How many commands the whole list takes. */
  static commands(list: ScatterList, maxPages: number): number {
    let commands = 0
    let pages = maxPages
    let aligned = true
    for (let segment = 0; segment < list.segments; segment++) {
      const offset = list.dmaLow[segment]! & PAGE_MASK
      const length = list.dmaLengths[segment]!
      const touched = (offset + length + PAGE_MASK) >> PAGE_SHIFT
      if (!aligned || offset !== 0 || pages === maxPages) {
        commands++
        pages = 0
      }
      pages += touched
      while (pages > maxPages) {
        commands++
        pages -= maxPages
      }
      aligned = ((offset + length) & PAGE_MASK) === 0
    }
    return commands
  }

  /** Writes PRP1, PRP2 and, if need be, the list of command `id` into the entry at word `at`. Only while {@link more}. */
  build(words: Int32Array, at: number, slots: CommandSlots, id: number): void {
    const list = this.#list!
    const listWord = slots.listWord[id]!
    let pages = 0
    let bytes = 0
    for (;;) {
      const base = list.dmaLow[this.#segment]! >>> 0
      const sum = base + this.#done
      const high = sum > 0xffff_ffff ? list.dmaHigh[this.#segment]! + 1 : list.dmaHigh[this.#segment]!
      const left = list.dmaLengths[this.#segment]! - this.#done
      const room = PAGE_SIZE - (sum & PAGE_MASK)
      const piece = left < room ? left : room
      if (pages === 0) {
        words[at + Sqe.prp1] = sum
        words[at + Sqe.prp1 + 1] = high
      } else {
        words[listWord + 2 * pages - 2] = sum
        words[listWord + 2 * pages - 1] = high
      }
      pages++
      bytes += piece
      this.#done += piece
      if (piece === left) {
        this.#segment++
        this.#done = 0
      }
      const edge = ((sum + piece) & PAGE_MASK) === 0
      if (!edge || pages === this.#maxPages || this.#segment === list.segments) break
      if (this.#done === 0 && (list.dmaLow[this.#segment]! & PAGE_MASK) !== 0) break
    }
    if (pages === 2) {
      words[at + Sqe.prp2] = words[listWord]!
      words[at + Sqe.prp2 + 1] = words[listWord + 1]!
    } else if (pages > 2) {
      words[at + Sqe.prp2] = slots.listLow[id]!
      words[at + Sqe.prp2 + 1] = slots.listHigh[id]!
    }
    this.bytes = bytes
  }

  /** Whether bytes are left. */
  get more(): boolean {
    return this.#segment < this.#list!.segments
  }
}
