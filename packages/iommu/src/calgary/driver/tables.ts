/**
 * TCE tables as software keeps them: each a run of frames that is aligned to its own size, one entry per page. Entries are written back to
 * memory one by one, because the chip does not look into CPU caches. Source: Linux tce_64.c; facts C.1.
 */
import { InvariantError } from '@iospace/wire'
import { DriverStatus, type DriverPort } from '../../iommu-driver.ts'
import { mapped } from '../../radix/entries.ts'
import { swap32 } from '../big-endian.ts'
import { SizeCode, TableEntry } from '../spec/tce.ts'

const ENTRIES_PER_PAGE = 512
/** Page numbers of code 7 need 20 bits. */
const PAGE_BITS = 20

export class TceTables {
  /** Most tables. */
  declare readonly most: number
  declare private readonly port: DriverPort
  /** By handle: first frame of the table (−1: there is none), and its size code. Handle 0 is the empty table. */
  declare private readonly first: Int32Array
  declare private readonly codes: Uint8Array

  constructor(port: DriverPort, most: number) {
    this.port = port
    this.most = most
    this.first = new Int32Array(most).fill(-1)
    this.codes = new Uint8Array(most)
  }

  /** An empty table of size `code`; the lowest free handle from `from` on, noTable or noMemory. */
  create(code: number, from: number): number {
    const table = this.first.indexOf(-1, from)
    if (table < 0) return DriverStatus.noTable
    const order = SizeCode.pagesShift + code
    const first = this.port.allocateRun(order)
    if (first < 0) return DriverStatus.noMemory
    if (first % 2 ** order !== 0)
      throw new InvariantError('a TCE table is aligned to its size', `frame 0x${first.toString(16)}, order ${order}`)
    this.first[table] = first
    this.codes[table] = code
    return table
  }

  exists(table: number): boolean {
    return table >= 0 && table < this.most && this.first[table]! >= 0
  }

  /** Gives the frames back. Nothing may know them any more. */
  destroy(table: number): void {
    for (const mfn of this.frames(table)) this.port.freePage(mfn)
    this.first[table] = -1
  }

  destroyAll(): void {
    for (let table = 0; table < this.most; table++) if (this.exists(table)) this.destroy(table)
  }

  /** Handles of all tables. */
  all(): number[] {
    return Array.from(this.first.keys()).filter((table) => this.exists(table))
  }

  /** First frame and size code: what TAR needs. */
  base(table: number): number {
    return this.first[table]!
  }

  code(table: number): number {
    return this.codes[table]!
  }

  /** Frames that the table has; 0 when there is none. */
  pages(table: number): number {
    return this.exists(table) ? 2 ** (SizeCode.pagesShift + this.codes[table]!) : 0
  }

  frames(table: number): number[] {
    return Array.from({ length: this.pages(table) }, (_, i) => this.first[table]! + i)
  }

  /** Whether `pages` pages from (`hi`:`lo`) on lie in the reach of `table`. */
  reaches(table: number, hi: number, lo: number, pages: number): boolean {
    const entries = 2 ** (SizeCode.entriesShift + this.codes[table]!)
    return hi === 0 && (lo >>> 12) + pages <= entries
  }

  /** Writes the entries of `pages` pages from `lo` on, to frames from `mfn` on. None may be mapped. */
  map(table: number, lo: number, mfn: number, pages: number, rights: number): void {
    const { port } = this
    for (let i = 0; i < pages; i++) this.#mustBeFree(table, (lo >>> 12) + i)
    for (let i = 0; i < pages; i++) {
      const page = (lo >>> 12) + i
      const frame = mfn + i
      const high = frame >>> PAGE_BITS
      const low = (frame << 12) | rights
      // Of a big-endian entry the upper half comes first.
      port.publish64(this.#frame(table, page), page % ENTRIES_PER_PAGE, swap32(low), swap32(high))
    }
  }

  /** Clears the entries of `pages` pages. */
  unmap(table: number, lo: number, pages: number): void {
    for (let i = 0; i < pages; i++) {
      const page = (lo >>> 12) + i
      this.port.publish64(this.#frame(table, page), page % ENTRIES_PER_PAGE, 0, 0)
    }
  }

  /** The frame of a page, −1 when it is not mapped. */
  frameOf(table: number, lo: number): number {
    const page = lo >>> 12
    const low = this.#low(table, page)
    if ((low & TableEntry.rights) === 0) return -1
    const high = swap32(this.port.loadLow(this.#frame(table, page), page % ENTRIES_PER_PAGE))
    return ((high & TableEntry.addressHigh) << PAGE_BITS) | (low >>> 12)
  }

  /** Its access bits. */
  accessOf(table: number, lo: number): number {
    return this.#low(table, lo >>> 12) & TableEntry.rights
  }

  #frame(table: number, page: number): number {
    return this.first[table]! + Math.floor(page / ENTRIES_PER_PAGE)
  }

  #low(table: number, page: number): number {
    return swap32(this.port.loadHigh(this.#frame(table, page), page % ENTRIES_PER_PAGE))
  }

  #mustBeFree(table: number, page: number): void {
    if ((this.#low(table, page) & TableEntry.rights) !== 0) throw mapped(0, page << 12)
  }
}
