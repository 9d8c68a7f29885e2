/**
 * Interrupt tables as software keeps them: one for each requester that was given interrupts, in a page of the reserve, of 4-byte entries,
 * which every unit has. An entry that was cleared is given again only after the unit has forgotten it, and so is the page.
 */
import { StateError } from '@iospace/wire'
import { DriverStatus, type DriverPort } from '../../iommu-driver.ts'
import { InterruptEntry } from '../spec/irte.ts'

/** log2 of the entries of a table: as many as messages of fixed delivery can name. */
export const INTERRUPT_TABLE_ORDER = 9
const ENTRIES = 2 ** INTERRUPT_TABLE_ORDER

/** What became of an entry. */
const Entry = { free: 0, used: 1, cleared: 2 } as const

interface Table {
  readonly frame: number
  readonly entries: Uint8Array
  used: number
}

export class DriverInterruptTables {
  readonly #port: DriverPort
  readonly #tables = new Map<number, Table>()

  constructor(port: DriverPort) {
    this.#port = port
  }

  /** Frame of the table of `requester` while an entry of it is used, else −1. */
  frame(requester: number): number {
    const table = this.#tables.get(requester)
    return table === undefined || table.used === 0 ? -1 : table.frame
  }

  /** Makes a free entry raise `vector` on the first CPU: its index, noTable or noMemory. */
  add(requester: number, vector: number): number {
    const table = this.#tables.get(requester) ?? this.#make(requester)
    if (table === null) return DriverStatus.noMemory
    const index = table.entries.indexOf(Entry.free)
    if (index < 0) return DriverStatus.noTable
    table.entries[index] = Entry.used
    table.used++
    this.#store(table, index, InterruptEntry.remap | (vector << InterruptEntry.vectorShift))
    return index
  }

  /** Blocks what entry `index` lets through, as far as memory goes. StateError for one that was not added. */
  clear(requester: number, index: number): void {
    const table = this.#tables.get(requester)
    const state = table?.entries[index] ?? Entry.free
    if (table === undefined || state === Entry.free)
      throw new StateError(`interrupt ${index} of requester 0x${requester.toString(16)}`, 'is not mapped')
    if (state === Entry.cleared) return
    this.#store(table, index, 0)
    table.entries[index] = Entry.cleared
    table.used--
  }

  /** The unit has forgotten what it knew of the table of `requester`: cleared entries are free, a table without others goes. */
  settle(requester: number): void {
    const table = this.#tables.get(requester)
    if (table === undefined) return
    for (let index = 0; index < ENTRIES; index++)
      if (table.entries[index] === Entry.cleared) table.entries[index] = Entry.free
    if (table.used > 0) return
    this.#tables.delete(requester)
    this.#port.freePage(table.frame)
  }

  frames(): number[] {
    return [...this.#tables.values()].map(({ frame }) => frame)
  }

  #make(requester: number): Table | null {
    const frame = this.#port.allocatePage()
    if (frame < 0) return null
    const table = { frame, entries: new Uint8Array(ENTRIES), used: 0 }
    this.#tables.set(requester, table)
    return table
  }

  // Two entries share the 8 bytes of a store: the other one stays as it is.
  #store({ frame }: Table, index: number, entry: number): void {
    const port = this.#port
    const at = index >>> 1
    const odd = (index & 1) !== 0
    port.publish64(frame, at, odd ? entry : port.loadHigh(frame, at), odd ? port.loadLow(frame, at) : entry)
  }
}
