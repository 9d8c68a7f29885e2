/**
 * The board of `c/translate.c`: 256 MiB of memory, 32768 pages in a dense range and 12288 pages 2 MiB apart behind tables of 4 levels, and
 * three lists of addresses, all from the same random numbers; with a VT-d unit programmed by hand in front of it.
 */
import { installVtd, VTD_BASE, type VtdHardware, type VtdPersonality } from '@iospace/iommu/hardware'
import { Machine } from '@iospace/machine'

const LOW_FRAMES = 65536
const FIRST_TABLE = 192 << 8
const PAGES = 32768
const SPARSE = 12288
const HOT = 256
/** Addresses of each list, and operations of each measure. */
export const OPS = 65536
/** Pages of the dense range, and of the range with a leaf table each. */
const BASE_PAGE = 0x7f12_3400_0000 / 4096
const SPARSE_PAGE = 0x1234_0000_0000 / 4096
/** Requester and domain of every access. */
export const REQUESTER = 0x0100
export const DOMAIN = 7
const ROOT = LOW_FRAMES - 1
const CONTEXT = LOW_FRAMES - 2

/** I/O addresses in halves. */
export class Addresses {
  readonly high = new Int32Array(OPS)
  readonly low = new Int32Array(OPS)

  set(i: number, page: number, offset: number): void {
    this.high[i] = Math.floor(page / 2 ** 20)
    this.low[i] = ((page % 2 ** 20) << 12) | offset
  }
}

export class TranslationBed {
  readonly machine = new Machine({
    memory: { lowFrames: LOW_FRAMES, highFrames: 1, boardBytes: 4096 },
    seed: 1,
    turn: () => Promise.resolve(),
    hangLimit: Infinity,
  })
  readonly hot = new Addresses()
  readonly cold = new Addresses()
  readonly sparse = new Addresses()
  /** Frames of the dense range's pages. */
  readonly frames = Uint32Array.from({ length: PAGES }, (_, i) => i)
  /** Frame of the top table. */
  readonly top = FIRST_TABLE
  /** 64 bytes of board memory, as a byte offset of the flat memory. */
  readonly buffer = this.machine.memory.boardMemory(64)
  #nextTable = FIRST_TABLE + 1

  constructor() {
    let state = 12345
    const below = (limit: number) => {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return (state >>> 0) % limit
    }
    const { frames } = this
    for (let i = PAGES - 1; i > 0; i--) {
      const j = below(i + 1)
      ;[frames[i], frames[j]] = [frames[j]!, frames[i]!]
    }
    for (let i = 0; i < PAGES; i++) this.#map(BASE_PAGE + i, frames[i]!)
    for (let i = 0; i < SPARSE; i++) this.#map(SPARSE_PAGE + 512 * i, frames[i]!)
    for (let i = 0; i < OPS; i++) {
      this.hot.set(i, BASE_PAGE + below(HOT), below(64) * 64)
      this.cold.set(i, BASE_PAGE + below(PAGES), below(64) * 64)
      this.sparse.set(i, SPARSE_PAGE + 512 * below(SPARSE), below(64) * 64)
    }
  }

  /** Puts a unit in front of memory, translating {@link REQUESTER} by the tables. */
  unit(personality: VtdPersonality): VtdHardware {
    const { memory, mmio, clock } = this.machine
    const hardware = installVtd(this.machine, personality)
    const entry = (mfn: number, index: number, ...words: number[]) => memory.words.set(words, mfn * 1024 + index * 2)
    entry(ROOT, (REQUESTER >> 8) * 2, (CONTEXT << 12) | 1, 0)
    entry(CONTEXT, (REQUESTER & 0xff) * 2, (this.top << 12) | 1, 0, (DOMAIN << 8) | 2, 0)
    mmio.write32(VTD_BASE + 0x20, ROOT << 12)
    mmio.write32(VTD_BASE + 0x24, 0)
    mmio.write32(VTD_BASE + 0x18, 1 << 30)
    while (clock.advance());
    mmio.write32(VTD_BASE + 0x18, 1 << 31)
    while (clock.advance());
    return hardware
  }

  /** Addresses of {@link cold} as seen from `base`, where the dense range begins in a flat table. */
  flat(base: number): Addresses {
    const addresses = new Addresses()
    for (let i = 0; i < OPS; i++) {
      const page = this.cold.high[i]! * 2 ** 20 + (this.cold.low[i]! >>> 12) - BASE_PAGE
      addresses.set(i, base + page, this.cold.low[i]! & 0xfff)
    }
    return addresses
  }

  #map(page: number, frame: number): void {
    const { words } = this.machine.memory
    let table = this.top
    for (let level = 4; level > 1; level--) {
      const at = table * 1024 + (Math.floor(page / 512 ** (level - 1)) % 512) * 2
      if (words[at] === 0) words[at] = (this.#nextTable++ << 12) | 3
      table = words[at]! >>> 12
    }
    words[table * 1024 + (page % 512) * 2] = (frame << 12) | 3
  }
}
